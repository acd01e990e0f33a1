"""What a command is, and what several of them need."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jsonargparse import ArgumentParser, Namespace

from study.cli.config import load_spec
from study.files.places import folder
from study.specs import StudySpec

CONFIG = "CONFIG [--KEY VALUE …]"  # the usage of most commands that take one
EXTRACTOR_HELP = (
    "feature extractor: digits, pixels, rff, inception, inception_tf, dinov2, or a card, NAME.json"
)


class Command(NamedTuple):
    """A command: its summary, usage and examples for the help, its arguments, and what it does,
    returning the exit status.

    config: whether it takes a config; shared: whether the processes of a launched group share its
    work.
    """

    summary: str
    usage: str
    examples: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    config: bool = False
    shared: bool = False


def spec_of(args: Namespace) -> StudySpec:
    """The study of a config and its overrides."""
    return load_spec(args.config, args.overrides)


def root_of(args: Namespace, writes: bool = True) -> Path:
    """The folder of everything that is written."""
    return folder(args.root, "--root", writes)


def root_flag(root: Path) -> str:
    """The option that names the root to another command; nothing for the default."""
    return "" if root == Path("mlruns") else f" --root {root}"


def release_argument(parser: ArgumentParser) -> None:
    """`--release HOST`."""
    parser.add_argument(
        "--release",
        type=str,
        default=None,
        metavar="HOST",
        help="take up again the work of processes of another host or container that have ended",
    )
