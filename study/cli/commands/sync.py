"""`study sync`: rebuilds MLflow's records of a study."""

from jsonargparse import ArgumentParser, Namespace

from study.cli.commands.command import Command, root_of


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", type=str, help="name of a study")


def _run(args: Namespace) -> int:
    from study.engine.replicate import sync

    sync(args.name, root_of(args))
    print(f"MLflow's records of '{args.name}' were rebuilt.")
    return 0


COMMAND = Command(
    "rebuild MLflow's records of a study",
    "NAME",
    """\
  study sync digits""",
    _arguments,
    _run,
)
