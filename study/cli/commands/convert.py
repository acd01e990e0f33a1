"""`study convert`: converts a pickled checkpoint to plain weights."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from study.cli.commands.command import Command
from study.files.places import require_folder


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", type=str, help="pickle of EDM or EDM2")
    parser.add_argument(
        "out", type=str, help="file to write, .safetensors; its card is written next to it as .json"
    )


def _run(args: Namespace) -> int:
    from study.checkpoints import convert

    require_folder(Path(args.out))
    card = convert(Path(args.path), Path(args.out))
    print(f"Weights and card     {args.out}  {card}")
    return 0


COMMAND = Command(
    "convert a pickle of EDM or EDM2 to plain weights",
    "IN.pkl OUT.safetensors",
    """\
  study convert edm2-img512-s-2147483-0.130.pkl edm2-s.safetensors""",
    _arguments,
    _run,
)
