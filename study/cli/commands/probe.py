"""`study probe`: predicts the gain of pairings without guided sampling."""

import sys

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError
from study.cli.commands.command import Command, root_of, spec_of


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", type=str, default="md", help="md, csv or json")
    parser.add_argument(
        "--main",
        type=str,
        default=None,
        help="with --guides: the main that all these guides guide together",
    )
    parser.add_argument(
        "--guides",
        type=list[str],
        default=[],
        help="several guides, such as '[dropout(0.4), noise(0.4)]'",
    )


def _run(args: Namespace) -> int:
    import json

    from study.engine.probe import probe_study, several_guides
    from study.report.formats import require_format
    from study.report.probes import render

    spec, root = spec_of(args), root_of(args)
    require_format(args.format)
    if args.guides or args.main:
        if not (args.guides and args.main):
            raise InputError(
                "--main, --guides: found only one of them; give one main and the guides that "
                "guide it together."
            )
        print(
            json.dumps(
                several_guides(spec, args.main, args.guides, root),
                indent=2,
                ensure_ascii=False,
                allow_nan=False,
            )
        )
        return 0
    probes = probe_study(spec, root)
    print(render(probes.rows, args.format))
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in probes.seconds.items())
    print(f"Took: {spent}", file=sys.stderr)
    return 0


COMMAND = Command(
    "predict the gain of pairings without guided sampling",
    "CONFIG [--format md|csv|json]",
    """\
  study probe digits
  study probe digits --main "dropout(0.2)" --guides "[dropout(0.4), noise(0.4)]\"""",
    _arguments,
    _run,
    config=True,
)
