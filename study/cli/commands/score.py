"""`study score`: scores images or samples in files."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from study.cli.commands.command import EXTRACTOR_HELP, Command, root_of


def _arguments(parser: ArgumentParser) -> None:
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
        help="also compute the score with clean-fid (inception, and cards with mode clean)",
    )
    parser.add_argument("--format", type=str, default="text", help="text or json")


def _run(args: Namespace) -> int:
    import json

    from study.evaluation.score_files import score_files
    from study.report.formats import LISTS, require_format

    require_format(args.format, LISTS)
    root = root_of(args, writes=False)
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


COMMAND = Command(
    "score a folder, zip or NPZ of images",
    "PATH --reference …",
    """\
  study score digits-samples/images --reference digits
  study score samples.npz --reference mlruns/reports/digits/reference-pixels.npz --extractor pixels
  study score images.zip --reference img512 --extractor inception_tf
  study score images/ --reference "cifar10 train" --extractor inception --verify""",
    _arguments,
    _run,
)
