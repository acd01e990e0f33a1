"""`study sample`: draws samples of one pairing at one weight."""

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError
from study.cli.commands.command import Command, root_of, spec_of
from study.files.places import folder
from study.specs.checks import MOST_SAMPLES


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--main", type=str, default="none", help="degradation of the main, such as dropout(0.2)"
    )
    parser.add_argument("--guide", type=str, default=None, help="degradation of the guide")
    parser.add_argument(
        "--weight", type=float, default=None, help="guidance weight; 1 is the main alone"
    )
    parser.add_argument(
        "--coupling", type=str, default="independent", help="independent or shared draws"
    )
    parser.add_argument(
        "--rule",
        type=str,
        default="constant",
        help="how main and guide are combined, such as interval(0.3, 5)",
    )
    parser.add_argument("--samples", type=int, default=64, help="number of samples")
    parser.add_argument("--out", type=str, default=None, help="folder (default: mlruns/samples/…)")
    parser.add_argument(
        "--format", type=str, default="npz", help="npz (floats) or folder (8-bit PNG files)"
    )


def _run(args: Namespace) -> int:
    import math

    from degradations import parse_rule
    from study.checkpoints.denoiser_names import canonical
    from study.engine.sample import sample
    from study.specs import PairingSpec

    spec, root = spec_of(args), root_of(args)
    if args.format not in ("npz", "folder"):
        raise InputError(f"--format: found {args.format}; accepted: npz, folder.")
    if not 1 <= args.samples <= MOST_SAMPLES:
        raise InputError(f"--samples: found {args.samples}; accepted: 1 to {MOST_SAMPLES:,}.")
    if args.weight is None and args.guide is not None:
        raise InputError("--weight: missing; a guide is used at weights other than 1.")
    weight = 1.0 if args.weight is None else args.weight
    if not math.isfinite(weight):
        raise InputError(f"--weight: found {weight}; accepted: a finite number.")
    if weight != 1 and args.guide is None:
        raise InputError(f"--guide: missing; weight {weight:g} needs one.")
    names = canonical(args.main), canonical(args.guide or "none")
    pairing = PairingSpec(*names, args.coupling, str(parse_rule(args.rule)))
    out = folder(args.out, "--out") if args.out else None
    written = sample(spec, pairing, weight, args.samples, root, out, args.format == "folder")
    if written is not None:
        print(f"{args.samples} samples   {written}/")
    return 0


COMMAND = Command(
    "draw images of one pairing at one weight",
    "CONFIG [--main …] [--guide … --weight …]",
    """\
  study sample digits --main "dropout(0.2)" --guide "dropout(0.4)" --weight 2
  study sample digits --samples 1797 --format folder --out digits-samples""",
    _arguments,
    _run,
    config=True,
    shared=True,
)
