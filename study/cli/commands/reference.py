"""`study reference`: reference statistics of images."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from study.cli.commands.command import EXTRACTOR_HELP, Command, root_of
from study.files.places import require_folder


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "data",
        type=str,
        help="folder or zip of images (also EDM's data set zips), NPZ, or a data set",
    )
    parser.add_argument("--out", type=str, required=True, help="file to write, .npz")
    parser.add_argument("--extractor", type=str, default="inception", help=EXTRACTOR_HELP)


def _run(args: Namespace) -> int:
    from study.evaluation.score_files import write_reference
    from study.parallel.device import device

    require_folder(Path(args.out))
    found = write_reference(
        args.data, Path(args.out), args.extractor, root_of(args, writes=False), device()
    )
    print(f"Statistics of {found.n} samples for the extractor {found.extractor}     {args.out}")
    return 0


COMMAND = Command(
    "compute reference statistics of images",
    "DATA --out STATISTICS.npz [--extractor …]",
    """\
  study reference imagenet-64x64.zip --out img64.npz --extractor inception
  study reference digits --out digits.npz --extractor digits""",
    _arguments,
    _run,
)
