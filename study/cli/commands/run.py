"""`study run`: runs a complete study."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError
from study.cli.commands.command import (
    CONFIG,
    Command,
    release_argument,
    root_flag,
    root_of,
    spec_of,
)
from study.specs import StudySpec


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--retrain", action="store_true", help="train the base again by the config's recipe"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="delete all evaluations of this study and begin again"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="number of processes that share the work"
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="estimate the resources needed, without running anything",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="afterwards recompute the scores of the confirmed weights with clean-fid, on newly "
        "drawn images",
    )
    release_argument(parser)


def _run(args: Namespace) -> int:
    from study.engine.check import evaluator_of, require_pairings
    from study.engine.run import run
    from study.engine.verify import verify_study
    from study.files.places import report_folder
    from study.metrics.clean_fid import verifiable
    from study.parallel.group import group
    from study.report import table

    spec, root = spec_of(args), root_of(args, writes=not args.plan)
    if not 1 <= args.workers <= 256:
        raise InputError(f"--workers: found {args.workers}; accepted: 1 to 256.")
    if args.plan:
        require_pairings(spec)
        if group().rank == 0:
            print(_plan(spec, root))
        return 0
    if group().world > 1 and (args.workers > 1 or args.retrain or args.verify):
        raise InputError(
            "--workers, --retrain, --verify: found in a launched group (torchrun, SLURM); they are "
            "accepted only with one process."
        )
    if spec.bases:
        return _replicate(spec, root, args)
    require_pairings(spec)
    evaluator = evaluator_of(spec, root, args.retrain)
    if args.verify:
        verifiable(evaluator.extractors)  # raises InputError before hours of computation
    rows = run(spec, root, args.retrain, args.fresh, args.workers, args.release, evaluator)
    if group().rank > 0:  # only the first process of a launched group shows the results
        return 0
    print(f"\n{table.render(rows, 'md')}\n")
    if args.verify:
        print("Recomputed by clean-fid:", flush=True)
        for line in verify_study(evaluator, root):
            print(f"  {line}", flush=True)
        print()
    print(f"Tables and figures   {report_folder(root, spec.name)}/")
    print(f"Every evaluation     study dashboard{root_flag(root)}      then http://127.0.0.1:5000")
    print(
        "In a notebook        "
        f"study.results.read({spec.name!r}{f', {str(root)!r}' if root_flag(root) else ''})"
    )
    return 0


def _plan(spec: StudySpec, root: Path) -> str:
    from study.engine.plan import estimate

    if not spec.bases:
        return estimate(spec, root)
    number, first = len(spec.bases), spec.bases[0]
    return f"{estimate(spec.of_base(first), root)}\nThis is for {first}, one of {number} bases."


def _replicate(spec: StudySpec, root: Path, args: Namespace) -> int:
    from study.engine.replicate import replicate
    from study.files.places import report_folder
    from study.parallel.group import group
    from study.report import replication

    if args.retrain or args.verify:
        raise InputError("--retrain, --verify: found with bases; accepted with one base only.")
    rows = replicate(spec, root, args.fresh, args.workers, args.release)
    if group().rank == 0:
        print(f"\n{replication.render(rows, 'md')}\n")
        print(f"Tables               {report_folder(root, spec.name)}/")
        for base in spec.bases:
            print(f"{base:20} {report_folder(root, spec.of_base(base).name)}/")
    return 0


COMMAND = Command(
    "run or resume a study",
    CONFIG,
    """\
  study run digits
  study run digits --name more-steps --sampler.steps 64
  study run fractal --search.trials 10
  study run edm2-img512-s --plan
  torchrun --nproc-per-node 8 -m study.cli run edm2-img512-s""",
    _arguments,
    _run,
    config=True,
    shared=True,
)
