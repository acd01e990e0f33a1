"""The command line: from words to a command, and from what goes wrong to one message and an exit status."""

import os
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentError, ArgumentParser

from degradations.errors import Failed, Refused
from study.commands import COMMANDS, Command
from study.config import add_spec, check_file, explain
from study.signals import interruptible


def main(argv: Sequence[str] | None = None) -> None:
    """The command `study`: runs a command and exits with 0 (done), 1 (failed) or 2 (wrong usage or refused input)."""
    sys.exit(call(list(sys.argv[1:] if argv is None else argv)))


def call(argv: list[str]) -> int:
    """Run a command line; returns its exit status."""
    with interruptible():
        return _call(argv)


def _call(argv: list[str]) -> int:
    # PyTorch's threads wait by spinning, billions of turns by default: beside another busy process each then waits for
    # the other's time slice, and sampling becomes eight times slower. With few turns it costs nothing when alone.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        return _say(f"unknown command '{argv[0]}'; there are: {', '.join(COMMANDS)}", 2)
    name, command, debug = argv[0], COMMANDS[argv[0]], "--debug" in argv
    if _launched("WORLD_SIZE", "SLURM_NTASKS", 1) > 1 and not command.shared:
        return _say(
            f"study {name} is one process; a launched group (torchrun, SLURM) can share study run and sample.", 2
        )
    parser = _parser(name, command)
    try:
        args = parser.parse_args(_with_config(argv[1:], name) if command.config else argv[1:])
        return command.run(args)
    except SystemExit as exit_:  # --help, --print_config
        return int(exit_.code or 0)
    except BrokenPipeError:  # who read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _say("interrupted; what was finished is kept, the same command goes on from there", 1)
    except Exception as error:
        if debug:
            raise
        return _say(*_explain(error))


def _parser(name: str, command: Command) -> ArgumentParser:
    from argparse import RawDescriptionHelpFormatter

    parser = ArgumentParser(
        prog=f"study {name}", usage=f"study {name} {command.usage}", exit_on_error=False,
        description=f"{command.summary[0].upper()}{command.summary[1:]}.", epilog=f"examples:\n{command.examples}",
        formatter_class=RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.arguments(parser)
    parser.add_argument("--root", type=str, default=os.environ.get("STUDY_ROOT", "mlruns"),
                        help="folder of everything that is written (default: mlruns, or $STUDY_ROOT)")  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if command.config:
        add_spec(parser)
    return parser


def _with_config(argv: list[str], name: str) -> list[str]:
    """CONFIG, wherever it stands, as the option --config, which comes before what overrides it."""
    if "--search" in argv[:-1]:  # `--search grid`, short as it is in a config
        argv = [f"{word}.method" if word == "--search" else word for word in argv]
    if {"-h", "--help", "--config"} & set(argv):
        return argv
    is_yaml = [i for i, word in enumerate(argv) if word.endswith((".yaml", ".yml"))]
    index = 0 if argv and not argv[0].startswith("-") else is_yaml[0] if is_yaml else None
    if index is None:
        raise Refused(f"study {name} wants a CONFIG, a YAML file such as configs/digits.yaml.")
    check_file(argv[index])
    return ["--config", argv[index], *argv[:index], *argv[index + 1 :]]


def _explain(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit status."""
    if isinstance(error, ArgumentError):
        return explain(error), 2
    if isinstance(error, Refused):
        return str(error), 2
    if isinstance(error, Failed):
        return str(error), 1
    chain, cause = [], error
    while cause is not None:
        chain.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    full = next((line for line in chain if "No space left" in line or "disk is full" in line), None)
    if full:
        return f"the disk is full ({full.splitlines()[0]}): free room, then give the command again", 1
    if isinstance(error, OSError) and error.filename:
        wrong_place = isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError))
        return f"{error.filename}: {error.strerror}", 2 if wrong_place else 1
    return f"failed: {chain[0].splitlines()[0]} (--debug shows where)", 1


def _say(message: str, status: int) -> int:
    rank = _launched("RANK", "SLURM_PROCID", 0)
    print(f"study{f' (rank {rank})' if rank else ''}: {message}", file=sys.stderr)
    return status


def _launched(torchrun: str, slurm: str, alone: int) -> int:
    """What a launcher says of this process, without PyTorch; SLURM speaks of one within a step only."""
    found = os.environ.get(torchrun, os.environ.get(slurm) if "SLURM_STEP_ID" in os.environ else None)
    return alone if found is None else int(found)


def _overview() -> str:
    lines = [
        "usage: study COMMAND …",
        "",
        "When does guiding a diffusion model with a worse version of itself help?",
        "",
    ]
    lines += [f"  study {name:10} {command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "examples:", *(command.examples.splitlines()[0] for command in COMMANDS.values())]
    return "\n".join([*lines, "", "`study COMMAND --help` tells more of each."])


if __name__ == "__main__":
    main()
