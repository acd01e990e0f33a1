"""What each command of the command line takes and does. Each imports what it needs when it is
called."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError, RunError
from study.cli.config import load_spec
from study.files.places import folder, want_folder
from study.files.typed import MOST_PART
from study.parallel.signals import end_with_parent
from study.specs import StudySpec
from study.specs.checks import MOST_SAMPLES


class Command(NamedTuple):
    """A command: what it is for, how it is used, its arguments, and what it does (returning the
    exit status).

    config: whether it takes one; shared: whether the processes of a launched group share its work.
    """

    summary: str
    usage: str
    examples: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    config: bool = False
    shared: bool = False


def _run_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--retrain", action="store_true", help="train the base anew by the config's recipe"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="discard what was kept of this study, and begin again"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that share the work")
    parser.add_argument(
        "--plan", action="store_true", help="say what it will take, and run nothing"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="then compute the scores of the confirmed weights again by clean-fid itself, on "
        "images drawn anew",
    )
    _release_argument(parser)


def _release_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--release",
        type=str,
        default=None,
        metavar="HOST",
        help="take up again what processes of another host or container, now ended, were at work "
        "on",
    )


def _run(args: Namespace) -> int:
    from study.engine.check import want_pairings
    from study.engine.run import run
    from study.engine.verify import verify_study, want_verifiable
    from study.files.places import report_folder
    from study.parallel.group import group
    from study.report import table

    spec, root = _spec(args), _root(args, writes=not args.plan)
    if not 1 <= args.workers <= 256:
        raise InputError(f"--workers {args.workers}: from 1 to 256 are accepted.")
    if args.plan:
        from study.engine.plan import estimate

        want_pairings(spec)
        if group().rank == 0:
            print(estimate(spec, root))
        return 0
    if group().world > 1 and (args.workers > 1 or args.retrain or args.verify):
        raise InputError(
            "--workers, --retrain and --verify are for one process, not for a launched group."
        )
    if args.verify:
        want_verifiable(spec, root)  # before hours are spent
    rows = run(spec, root, args.retrain, args.fresh, args.workers, args.release)
    if group().rank > 0:  # the first of a launched group shows what was found
        return 0
    print(f"\n{table.render(rows, 'md')}\n")
    if args.verify:
        print("By clean-fid itself:", flush=True)
        for line in verify_study(spec.name, root):
            print(f"  {line}", flush=True)
        print()
    print(f"Tables and figures   {report_folder(root, spec.name)}/")
    print(f"Every evaluation     study dashboard{_root_flag(root)}      then http://127.0.0.1:5000")
    print(
        "In a notebook        "
        f"study.results.read({spec.name!r}{f', {str(root)!r}' if _root_flag(root) else ''})"
    )
    return 0


def _worker_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--attached", action="store_true", help="end when the standard input closes"
    )
    _release_argument(parser)


def _worker(args: Namespace) -> int:
    if args.attached:
        end_with_parent()
    from study.engine.run import work

    spec = _spec(args)
    work(spec, _root(args), args.release)
    print(f"Nothing is left to do for '{spec.name}'.")
    return 0


def _calibrate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", type=str, default="md", help="md, csv or json")


def _calibrate(args: Namespace) -> int:
    from study.engine.run import find_strengths
    from study.report import strengths

    spec = _spec(args)
    strengths.check(args.format)
    print(strengths.render(find_strengths(spec, _root(args)), spec.calibrate.levels, args.format))
    return 0


def _probe_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", type=str, default="md", help="md, csv or json")
    parser.add_argument(
        "--main",
        type=str,
        default=None,
        help="with --guides: the main that several guides guide at once",
    )
    parser.add_argument(
        "--guides",
        type=list[str],
        default=[],
        help="several guides, such as '[dropout(0.4), noise(0.4)]'",
    )


def _probe(args: Namespace) -> int:
    import json

    from study.engine.probe import probe_study, render, several_guides
    from study.report import strengths

    spec, root = _spec(args), _root(args)
    strengths.check(args.format)
    if args.guides or args.main:
        if not (args.guides and args.main):
            raise InputError(
                "--main and --guides go together: one main, and the guides that guide it at once."
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


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=str,
        default=None,
        help="folder for weights and card (default: mlruns/bases/…)",
    )
    parser.add_argument(
        "--again", action="store_true", help="discard what is there, and begin anew"
    )
    parser.add_argument(
        "--classifier",
        action="store_true",
        help="train the digits classifier behind fd_digits instead",
    )


def _train(args: Namespace) -> int:
    from study.engine.bases import train_base

    spec, root = _spec(args), _root(args)
    out = folder(args.out, "--out") if args.out else None
    if args.classifier:
        from study.lightning.classify import train_classifier

        made_by = f"study train configs/{spec.name}.yaml --classifier"
        made = train_classifier(out or root / "bases" / "digits-classifier", made_by)
    else:
        made = train_base(spec, root, args.again, out=out)
    print(f"Weights and card     {made}/")
    return 0


def _sample_arguments(parser: ArgumentParser) -> None:
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
        "--rule", type=str, default="constant", help="how they are combined, as interval(0.3, 5)"
    )
    parser.add_argument("--samples", type=int, default=64, help="how many")
    parser.add_argument("--out", type=str, default=None, help="folder (default: mlruns/samples/…)")
    parser.add_argument(
        "--format", type=str, default="npz", help="npz (floats) or folder (8-bit PNG files)"
    )


def _sample(args: Namespace) -> int:
    import math
    import re
    from dataclasses import replace

    from degradations import parse_rule
    from study.checkpoints.names import canonical
    from study.engine import memory
    from study.engine.check import evaluator_of
    from study.files.images import to_uint8, write_npz, write_png
    from study.parallel.device import device
    from study.parallel.group import as_leader, group, serve
    from study.records.task import Task
    from study.report import figures
    from study.specs import CONSTANT, PairingSpec

    spec, root = _spec(args), _root(args)
    if args.format not in ("npz", "folder"):
        raise InputError(f"--format {args.format}: accepted are npz and folder.")
    if not 1 <= args.samples <= MOST_SAMPLES:
        raise InputError(f"--samples {args.samples}: from 1 to {MOST_SAMPLES:,} are accepted.")
    if not math.isfinite(args.weight):
        raise InputError(f"--weight {args.weight}: it must be a finite number.")
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
            f"--out: missing; the name made of these degradations has more than {MOST_PART} bytes."
        )
    # Nothing is searched, so nothing is held for a search; the samples are.
    alone = replace(spec, pairings=(pairing,), matrix=None, search=replace(spec.search, samples=2))
    evaluator = evaluator_of(alone, root)
    memory.check([memory.drawn(args.samples, evaluator.base.data.shape)], device())
    if group().rank > 0:
        serve(evaluator)
        return 0
    with as_leader():
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


EXTRACTOR_HELP = (
    "feature extractor: digits, pixels, rff, inception, inception_tf, dinov2, or a card, NAME.json"
)


def _score_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", type=str, help="folder or zip of images, or NPZ of samples")
    parser.add_argument(
        "--reference",
        type=str,
        required=True,
        help="what to compare with: a data set, published statistics (img512, 'cifar10 train'), "
        "statistics (.npz, .pkl), or images",
    )
    parser.add_argument("--extractor", type=str, default="digits", help=EXTRACTOR_HELP)
    parser.add_argument(
        "--extrapolate", action="store_true", help="also FD against the number of samples, and FD∞"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="also by clean-fid itself (inception, and cards with mode clean)",
    )
    parser.add_argument("--format", type=str, default="text", help="text or json")


def _score(args: Namespace) -> int:
    import json

    from study.evaluation.score_files import score_files

    if args.format not in ("text", "json"):
        raise InputError(f"--format {args.format}: accepted are text and json.")
    root = _root(args, writes=False)
    found = score_files(
        Path(args.path), args.reference, args.extractor, args.extrapolate, root, args.verify
    )
    verified = found.pop("verified", None)
    if args.format == "json":
        print(json.dumps(found | (verified.as_dict() if verified else {}), indent=2))
        return 0
    print("\n".join(f"{k:16} {v}" for k, v in found.items()))
    if verified:
        print(verified)
    return 0


def _reference_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "data",
        type=str,
        help="folder or zip of images (EDM's data set zips too), NPZ, or a data set",
    )
    parser.add_argument("--out", type=str, required=True, help="file to write, .npz")
    parser.add_argument("--extractor", type=str, default="inception", help=EXTRACTOR_HELP)


def _reference(args: Namespace) -> int:
    from study.metrics.reference import write_reference
    from study.parallel.device import device

    want_folder(Path(args.out))
    found = write_reference(
        args.data, Path(args.out), args.extractor, _root(args, writes=False), device()
    )
    print(f"Statistics of {found.n} samples as {found.extractor} sees them     {args.out}")
    return 0


def _convert_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", type=str, help="pickle of EDM or EDM2")
    parser.add_argument(
        "out", type=str, help="file to write, .safetensors; its card stands beside it as .json"
    )


def _convert(args: Namespace) -> int:
    from study.checkpoints import convert

    want_folder(Path(args.out))
    card = convert(Path(args.path), Path(args.out))
    print(f"Weights and card     {args.out}  {card}")
    return 0


def _table_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", type=str, help="name of a study")
    parser.add_argument("--format", type=str, default="md", help="md, csv, json or latex")
    parser.add_argument(
        "--metric", type=str, default=None, help="metric to show (default: the study's primary one)"
    )


def _table(args: Namespace) -> int:
    from study.report import table
    from study.search.collect import collect

    print(
        table.render(
            table.rows(collect(_root(args, writes=False), args.name), args.metric), args.format
        )
    )
    return 0


def _dashboard_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=5000, help="port on 127.0.0.1")


def _dashboard(args: Namespace) -> int:
    from study.tracking import serve

    if not 1 <= args.port <= 65535:
        raise InputError(f"--port {args.port}: a port from 1 to 65535 is wanted.")
    return serve(_root(args, writes=False), args.port)


def _sync_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", type=str, help="name of a study")


def _sync(args: Namespace) -> int:
    from study.engine.run import sync

    sync(args.name, _root(args))
    print(f"MLflow's view of '{args.name}' was rebuilt.")
    return 0


def _spec(args: Namespace) -> StudySpec:
    return load_spec(args.config, args.overrides)


def _root(args: Namespace, writes: bool = True) -> Path:
    return folder(args.root, "--root", writes)


def _root_flag(root: Path) -> str:
    return "" if root == Path("mlruns") else f" --root {root}"


CONFIG_HELP = "CONFIG [--KEY VALUE …]"
COMMANDS = {
    "run": Command(
        "run a whole study, or go on with it",
        CONFIG_HELP,
        """\
  study run configs/digits.yaml
  study run configs/digits.yaml --name more-steps --sampler.steps 64
  study run configs/fractal.yaml --search.trials 10
  study run configs/edm2-img512-s.yaml --plan
  torchrun --nproc-per-node 8 -m study.cli run configs/edm2-img512-s.yaml""",
        _run_arguments,
        _run,
        True,
        True,
    ),
    "worker": Command(
        "add a process to a study",
        CONFIG_HELP,
        """\
  study worker configs/digits.yaml""",
        _worker_arguments,
        _worker,
        True,
    ),
    "probe": Command(
        "say what pairings will gain, without guided sampling",
        "CONFIG [--format md|csv|json]",
        """\
  study probe configs/digits.yaml
  study probe configs/digits.yaml --main "dropout(0.2)" --guides "[dropout(0.4), noise(0.4)]\"""",
        _probe_arguments,
        _probe,
        True,
    ),
    "calibrate": Command(
        "find the strengths at which kinds do equal damage",
        CONFIG_HELP,
        """\
  study calibrate configs/digits.yaml --calibrate.kinds "[dropout, noise]" --calibrate.trials 20""",
        _calibrate_arguments,
        _calibrate,
        True,
    ),
    "train": Command(
        "train the base of a study only",
        CONFIG_HELP,
        """\
  study train configs/digits.yaml --out my-base
  study train configs/digits.yaml --recipe.steps 20000 --recipe.seed 1""",
        _train_arguments,
        _train,
        True,
    ),
    "sample": Command(
        "draw images of one pairing at one weight",
        "CONFIG --main … --guide … --weight …",
        """\
  study sample configs/digits.yaml --main "dropout(0.2)" --guide "dropout(0.4)" --weight 2
  study sample configs/digits.yaml --samples 1797 --format folder --out digits-samples""",
        _sample_arguments,
        _sample,
        True,
        True,
    ),
    "score": Command(
        "score a folder, zip or NPZ of images",
        "PATH --reference …",
        """\
  study score digits-samples/images --reference digits
  study score samples.npz --reference mlruns/reports/digits/reference-pixels.npz --extractor pixels
  study score images.zip --reference img512 --extractor inception_tf
  study score images/ --reference "cifar10 train" --extractor inception --verify""",
        _score_arguments,
        _score,
    ),
    "reference": Command(
        "make reference statistics of images",
        "DATA --out STATISTICS.npz [--extractor …]",
        """\
  study reference imagenet-64x64.zip --out img64.npz --extractor inception
  study reference digits --out digits.npz --extractor digits""",
        _reference_arguments,
        _reference,
    ),
    "convert": Command(
        "make plain weights of a pickle of EDM or EDM2",
        "IN.pkl OUT.safetensors",
        """\
  study convert edm2-img512-s-2147483-0.130.pkl edm2-s.safetensors""",
        _convert_arguments,
        _convert,
    ),
    "table": Command(
        "print the table of a study",
        "NAME [--format md|csv|json|latex] [--metric …]",
        """\
  study table digits
  study table digits --format json --metric fd_pixels""",
        _table_arguments,
        _table,
    ),
    "dashboard": Command(
        "show MLflow's dashboard on 127.0.0.1",
        "[--port 5000]",
        """\
  study dashboard --port 5001""",
        _dashboard_arguments,
        _dashboard,
    ),
    "sync": Command(
        "rebuild MLflow's view of a study",
        "NAME",
        """\
  study sync digits""",
        _sync_arguments,
        _sync,
    ),
}
