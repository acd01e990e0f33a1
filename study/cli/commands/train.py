"""`study train`: trains a base, or a classifier."""

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError
from study.cli.commands.command import CONFIG, Command, root_of, spec_of
from study.files.places import folder


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=str,
        default=None,
        help="folder for weights and card (default: mlruns/bases/…)",
    )
    parser.add_argument(
        "--retrain",
        "--again",
        dest="retrain",
        action="store_true",
        help="delete an existing training and begin again",
    )
    parser.add_argument(
        "--noisy-classifier",
        action="store_true",
        help="train a classifier of noisy samples of the recipe's data, for classifier(1)",
    )
    parser.add_argument(
        "--classifier", action="store_true", help="train the digits classifier of fd_digits instead"
    )


def _run(args: Namespace) -> int:
    from study.engine.trainings import train_base, train_noisy_classifier

    spec, root = spec_of(args), root_of(args)
    out = folder(args.out, "--out") if args.out else None
    if args.classifier and args.noisy_classifier:
        raise InputError("--classifier, --noisy-classifier: found both; accepted: one of them.")
    if args.classifier:
        from study.lightning.classify import train_classifier

        made_by = f"study train configs/{spec.name}.yaml --classifier"
        made = train_classifier(out or root / "bases" / "digits-classifier", made_by)
    elif args.noisy_classifier:
        made = train_noisy_classifier(spec, root, args.retrain, out)
    else:
        made = train_base(spec, root, args.retrain, out=out)
    print(f"Weights and card     {made}/")
    return 0


COMMAND = Command(
    "train only the base of a study",
    CONFIG,
    """\
  study train digits --out my-base
  study train digits --recipe.steps 20000 --recipe.seed 1
  study train digits --noisy-classifier --recipe.steps 3000""",
    _arguments,
    _run,
    config=True,
)
