"""`study samplers`: compares solvers and grids of noise levels."""

import sys

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError
from study.cli.commands.command import Command, root_of, spec_of


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--solvers", type=list[str], default=[], help="solvers by name (default: all)"
    )
    parser.add_argument(
        "--grids", type=list[str], default=[], help="grids by name (default: the sampler's)"
    )
    parser.add_argument(
        "--nfe",
        type=list[int],
        default=[],
        help="budgets of network evaluations per sample (default: [8, 16, 32, 64])",
    )
    parser.add_argument(
        "--weight", type=float, default=2.0, help="of the guided curves (default: 2)"
    )
    parser.add_argument("--format", type=str, default="md", help="md, csv or json")


def _run(args: Namespace) -> int:
    import math

    from study.engine.samplers import BUDGETS, Wanted, compare
    from study.report.formats import require_format
    from study.report.samplers import render
    from study.sampling import solvers

    spec, root = spec_of(args), root_of(args)
    require_format(args.format)
    if not math.isfinite(args.weight):
        raise InputError(f"--weight: found {args.weight}; accepted: a finite number.")
    wanted = Wanted(
        args.solvers or list(solvers()),
        args.grids or [spec.sampler.grid],
        args.nfe or BUDGETS,
        args.weight,
    )
    rows = compare(spec, root, wanted, lambda text: print(text, file=sys.stderr, flush=True))
    print(render(rows, args.format))
    return 0


COMMAND = Command(
    "compare solvers and grids: FD against NFE",
    "CONFIG [--solvers …] [--grids …] [--nfe …]",
    """\
  study samplers digits
  study samplers digits --solvers "[heun, dpmpp-2m]" --grids "[edm, log-snr]" --weight 1.8""",
    _arguments,
    _run,
    config=True,
)
