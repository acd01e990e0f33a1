"""`study sample`: draws samples of one pairing at one weight."""

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError, RunError
from study.cli.commands.command import Command, root_of, spec_of
from study.files.places import folder
from study.specs.checks import MOST_SAMPLES
from study.specs.typed import MOST_PART


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--main", type=str, default="none", help="degradation of the main, such as dropout(0.2)"
    )
    parser.add_argument("--guide", type=str, default="none", help="degradation of the guide")
    parser.add_argument(
        "--weight", type=float, default=1.0, help="guidance weight; 1 is the main alone"
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
    import re
    from dataclasses import replace

    from degradations import parse_rule
    from study.checkpoints.denoiser_names import canonical
    from study.engine import memory
    from study.engine.check import evaluator_of
    from study.files.images import to_uint8, write_npz, write_png
    from study.parallel.device import device
    from study.parallel.group import as_rank_zero, group, serve
    from study.records.task import Task
    from study.report import figures
    from study.specs import CONSTANT, PairingSpec

    spec, root = spec_of(args), root_of(args)
    if args.format not in ("npz", "folder"):
        raise InputError(f"--format {args.format}: accepted are npz and folder.")
    if not 1 <= args.samples <= MOST_SAMPLES:
        raise InputError(f"--samples: found {args.samples}; accepted are 1 to {MOST_SAMPLES:,}.")
    if not math.isfinite(args.weight):
        raise InputError(f"--weight: found {args.weight}; accepted is a finite number.")
    rule = str(parse_rule(args.rule))
    pairing = PairingSpec(canonical(args.main), canonical(args.guide), args.coupling, rule)
    ruled = "" if rule == CONSTANT else f"-{rule}"
    slug = (
        f"{spec.name}-{args.main}-{args.guide}-{args.coupling}{ruled}-w{args.weight:g}"
        f"-seed{spec.seed}"
    )
    plain = re.sub(r"[^\w.@=,+-]+", "-", slug.replace("(", "").replace(")", ""))
    out = folder(args.out, "--out") if args.out else root / "samples" / plain
    if len(plain.encode()) > MOST_PART and not args.out:
        raise InputError(
            f"--out: missing; the default name, of these degradations, exceeds {MOST_PART} bytes."
        )
    # Without a search its memory is not needed, but all samples are held.
    alone = replace(spec, pairings=(pairing,), matrix=None, search=replace(spec.search, samples=2))
    evaluator = evaluator_of(alone, root)
    memory.check([memory.drawn(args.samples, evaluator.base.data.shape)], device())
    if group().rank > 0:
        serve(evaluator)
        return 0
    with as_rank_zero():
        samples = evaluator.samples(
            Task.guided(pairing, args.weight, spec.seed, args.samples, spec.sampler.steps)
        )
    bad = int((~samples.flatten(1).isfinite().all(dim=1)).sum())
    if bad:
        raise RunError(
            f"{bad} of {len(samples)} samples are not finite at weight {args.weight:g}; nothing "
            "was written."
        )
    if samples.ndim == 4:
        write_png(out / "grid.png", figures.tile(evaluator.images(samples[:256])))
    else:
        figures.save(figures.samples({slug: samples}), out / "grid.png")
    if args.format == "npz" or samples.ndim != 4:
        write_npz(out / "samples.npz", samples)
    else:
        for index, sample in enumerate(samples[:, None]):
            write_png(out / "images" / f"{index:06d}.png", to_uint8(evaluator.images(sample))[0])
    print(f"{len(samples)} samples   {out}/")
    return 0


COMMAND = Command(
    "draw images of one pairing at one weight",
    "CONFIG --main … --guide … --weight …",
    """\
  study sample configs/digits.yaml --main "dropout(0.2)" --guide "dropout(0.4)" --weight 2
  study sample configs/digits.yaml --samples 1797 --format folder --out digits-samples""",
    _arguments,
    _run,
    True,
    True,
)
