"""`study worker`: adds a process to a study."""

from jsonargparse import ArgumentParser, Namespace

from study.cli.commands.command import CONFIG, Command, release_argument, root_of, spec_of
from study.parallel.signals import end_with_parent


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--attached", action="store_true", help="end when standard input closes")
    release_argument(parser)


def _run(args: Namespace) -> int:
    if args.attached:
        end_with_parent()
    from study.engine.replicate import join
    from study.engine.run import work

    spec = spec_of(args)
    (join if spec.bases else work)(spec, root_of(args), args.release)
    print(f"Nothing is left to do for '{spec.name}'.")
    return 0


COMMAND = Command(
    "add a process to a study",
    CONFIG,
    """\
  study worker digits""",
    _arguments,
    _run,
    config=True,
)
