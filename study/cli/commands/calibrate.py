"""`study calibrate`: strengths of equal damage."""

from jsonargparse import ArgumentParser, Namespace

from study.cli.commands.command import CONFIG, Command, root_of, spec_of


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", type=str, default="md", help="md, csv or json")


def _run(args: Namespace) -> int:
    from study.engine.run import find_strengths
    from study.report import strengths
    from study.report.formats import require_format

    spec = spec_of(args)
    require_format(args.format)
    print(strengths.render(find_strengths(spec, root_of(args)), spec.calibrate, args.format))
    return 0


COMMAND = Command(
    "find the strengths at which kinds do equal damage",
    CONFIG,
    """\
  study calibrate digits --calibrate.kinds "[dropout, noise]" --calibrate.trials 20""",
    _arguments,
    _run,
    config=True,
)
