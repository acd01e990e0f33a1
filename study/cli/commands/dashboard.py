"""`study dashboard`: serves MLflow's dashboard."""

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError
from study.cli.commands.command import Command, root_of


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=5000, help="port on 127.0.0.1")


def _run(args: Namespace) -> int:
    from study.tracking import serve

    if not 1 <= args.port <= 65535:
        raise InputError(f"--port: found {args.port}; accepted: a port from 1 to 65535.")
    return serve(root_of(args, writes=False), args.port)


COMMAND = Command(
    "show MLflow's dashboard on 127.0.0.1",
    "[--port 5000]",
    """\
  study dashboard --port 5001""",
    _arguments,
    _run,
)
