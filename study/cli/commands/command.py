"""The type of a command, and functions shared by several commands."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jsonargparse import ArgumentParser, Namespace

from study.cli.config import load_spec
from study.files.places import folder
from study.specs import StudySpec

CONFIG = "CONFIG [--KEY VALUE …]"  # the usage of most commands with a config
EXTRACTOR_HELP = (
    "feature extractor: digits, pixels, random, rff, inception, inception_tf, dinov2, or a card, "
    "NAME.json"
)


class Command(NamedTuple):
    """A command: help texts, arguments, and its function, which returns the exit status.

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
    """The folder of all outputs; writes: whether it must be writable."""
    return folder(args.root, "--root", writes)


def root_flag(root: Path) -> str:
    """The `--root` option for another command; empty for the default."""
    return "" if root == Path("mlruns") else f" --root {root}"


def release_argument(parser: ArgumentParser) -> None:
    """Add the option `--release HOST`."""
    parser.add_argument(
        "--release",
        type=str,
        default=None,
        metavar="HOST",
        help="release the tasks of processes that have ended on another host or container",
    )
