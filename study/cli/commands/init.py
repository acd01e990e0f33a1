"""`study init`: writes a first config."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError
from study.cli.commands.command import Command, root_flag, root_of
from study.files.places import require_folder


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=str,
        default=None,
        help="data to compare with, and to train on: digits, a folder or zip of images, an NPZ, "
        "torchvision:NAME, hub:ORG/NAME",
    )
    parser.add_argument(
        "--base",
        type=str,
        default=None,
        help="recipe (trained on the data), a shipped or published base by its name, a folder or "
        "file, or exact",
    )
    parser.add_argument("--name", type=str, default=None, help="name of the study")
    parser.add_argument(
        "--out", type=str, default=None, help="config to write, by default NAME.yaml"
    )


def _run(args: Namespace) -> int:
    from study.cli.config import load_spec
    from study.engine.init import QUESTIONS, config_of
    from study.files.atomic import write_text
    from study.specs import StudySpec

    root = root_of(args)
    answers = {each.option: getattr(args, each.option) for each in QUESTIONS}
    for each in QUESTIONS:
        if answers[each.option] is None:
            answers[each.option] = _asked(each.option, each.text, each.default)
    name = str(answers["name"])
    StudySpec(name, base="digits")  # raises InputError for a name that no study can have
    out = Path(args.out or f"{name}.yaml")
    if out.exists():
        raise InputError(f"--out {out}: exists already; accepted: a file that does not.")
    require_folder(out)
    text = config_of(name, str(answers["base"]), str(answers["data"]), root)
    write_text(out, text)
    load_spec(out)
    flag = root_flag(root)
    print(f"Written              {out}")
    print(f"What it takes        study run {out}{flag} --plan")
    print(f"The study            study run {out}{flag}")
    return 0


def _asked(option: str, text: str, default: str | None) -> str:
    """The answer to a question, asked in a terminal. Raises InputError where nobody can answer."""
    if not sys.stdin.isatty():
        if default is not None:
            return default
        raise InputError(
            f"--{option}: found nothing; accepted: a value, as nobody can be asked here."
        )
    shown = f"{text}{f' [{default}]' if default else ''}: "
    answer = input(shown).strip() or default or ""
    while not answer:
        answer = input(shown).strip()
    return answer


COMMAND = Command(
    "write a first config, with comments",
    "[--data DATA] [--base BASE] [--name NAME] [--out FILE]",
    """\
  study init --data my-images --name mine
  study init --data my-images@size=32 --base recipe --name mine
  study init --data cifar10.zip --base edm-cifar10-32x32-cond-vp --name cifar""",
    _arguments,
    _run,
)
