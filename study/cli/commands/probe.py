"""`study probe`: predicts the gain of pairings without guided sampling."""

import sys
from pathlib import Path

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
    parser.add_argument(
        "--out",
        type=str,
        default=None,
        help="also write what the probes predict, a CSV file for forecasts:",
    )


def _run(args: Namespace) -> int:
    import json

    from study.engine.probe import probe_study, several_guides
    from study.files.atomic import write_text
    from study.files.places import require_folder
    from study.report.forecasts import forecasts_of
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
    out = None if args.out is None else Path(args.out)
    if out is not None:
        if spec.bases:
            raise InputError(
                f"--out: forecasts are of one base, found {len(spec.bases)}; choose it by "
                f"--bases [] --base {spec.bases[0]}"
            )
        require_folder(out)
    rows = []
    for base in spec.bases or (None,):
        probes = probe_study(spec if base is None else spec.of_base(base), root)
        rows += [row if base is None else {"base": base, **row} for row in probes.rows]
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in probes.seconds.items())
        print(f"Took{f' of {base}' if base else ''}: {spent}", file=sys.stderr)
    if out is not None:
        write_text(out, forecasts_of(rows, by_kind=spec.matrix is not None))
    print(render(rows, args.format))
    return 0


COMMAND = Command(
    "predict the gain of pairings without guided sampling",
    "CONFIG [--format md|csv|json]",
    """\
  study probe digits
  study probe digits --out forecasts.csv
  study probe digits --main "dropout(0.2)" --guides "[dropout(0.4), noise(0.4)]\"""",
    _arguments,
    _run,
    config=True,
)
