"""The command line: from words to a command, and from what goes wrong to one message and an exit
status."""

import atexit
import contextlib
import os
import re
import sys

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from degradations.errors import InputError, RunError
from study.cli.commands import COMMANDS
from study.cli.commands.command import Command
from study.cli.config import is_key
from study.files.typed import WORDS, keys_of, meant, unknown_key
from study.parallel.signals import interruptible
from study.specs import StudySpec


def main() -> None:
    """The command `study`: runs a command and exits with 0 (done), 1 (failed) or 2 (wrong usage or
    refused input)."""
    status: list[int] = []
    atexit.register(_leave, status)  # the first to be registered is the last to be called
    status.append(call(sys.argv[1:]))
    sys.exit(status[0])


def _leave(status: list[int]) -> None:
    """End the process now that nothing is left to be done: the interpreter would take PyTorch and
    MLflow apart first, for a second or two."""
    if status:
        for stream in (sys.stdout, sys.stderr):
            # whoever read it has gone, or it was closed
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status[0])


def call(argv: list[str]) -> int:
    """Run a command line; returns its exit status."""
    with interruptible():
        try:
            return _call(argv)
        except BrokenPipeError:  # the reader of the output has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1


def _call(argv: list[str]) -> int:
    # PyTorch's threads wait by spinning, billions of turns by default: beside another busy process
    # each then waits for the other's time slice, and sampling becomes eight times slower. With few
    # turns it costs nothing when alone.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # SciPy's threads wait in the same way, cannot be told not to, and gain nothing on matrices of
    # this size: none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        return _say(
            f"unknown command '{argv[0]}'.{meant(argv[0], COMMANDS)} There are: "
            f"{', '.join(COMMANDS)}",
            2,
        )
    name, command, debug = argv[0], COMMANDS[argv[0]], "--debug" in argv
    if _launched("WORLD_SIZE", "SLURM_NTASKS", 1) > 1 and not command.shared:
        return _say(
            f"study {name} is one process; a launched group (torchrun, SLURM) can share study run "
            "and sample.",
            2,
        )
    helps = bool({"-h", "--help"} & set(argv))
    parser = _parser(name, command, helps)
    try:
        args = _parsed(parser, argv[1:], command) if not helps else parser.parse_args(["--help"])
        # before the imports, which take seconds
        if command.config and not _launched("RANK", "SLURM_PROCID", 0):
            print(f"study: {args.config} under {args.root}", file=sys.stderr, flush=True)
        return command.run(args)
    except SystemExit as exit_:  # --help
        return int(exit_.code or 0)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _say(
            "interrupted; what was finished is kept, the same command goes on from there", 1
        )
    except Exception as error:
        if debug:
            raise
        return _say(*_explain(error))


def _parser(name: str, command: Command, helps: bool) -> ArgumentParser:
    """The options of a command; to help, with those of the config too, which otherwise
    `study.cli.config` reads."""
    from argparse import RawDescriptionHelpFormatter

    parser = ArgumentParser(
        prog=f"study {name}",
        usage=f"study {name} {command.usage}",
        exit_on_error=False,
        allow_abbrev=False,
        description=f"{command.summary[0].upper()}{command.summary[1:]}.",
        epilog=f"examples:\n{command.examples}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.arguments(parser)
    parser.add_argument(
        "--root",
        type=str,
        default=os.environ.get("STUDY_ROOT", "mlruns"),
        help="folder of everything that is written (default: mlruns, or $STUDY_ROOT)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if command.config:
        parser.add_argument("--config", type=str, help="the study's YAML; the same as CONFIG")
    if command.config and helps:
        parser.add_class_arguments(
            StudySpec, None, help="values of the config, each of which can be overridden"
        )
    return parser


def _parsed(parser: ArgumentParser, argv: list[str], command: Command) -> Namespace:
    """The arguments of a command; where it takes a config, `config` and `overrides`, which are put
    over it."""
    own: list[str] = []
    overrides: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        to_config = command.config and is_key(word)
        (overrides if to_config else own).append(word)
        if to_config and "=" not in word and words and not words[0].startswith("--"):
            overrides.append(words.pop(0))
    known = [
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    ]
    for word in own:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in known:
            raise InputError(_unknown(option, known, command.config))
    path = _config(own) if command.config else None
    args: Namespace = parser.parse_args(own)
    if command.config:
        args.config, args.overrides = args.config or path, overrides
        if args.config is None:
            raise InputError(
                f"{parser.prog} needs a CONFIG, a YAML file such as configs/digits.yaml."
            )
    return args


def _unknown(option: str, known: list[str], config: bool) -> str:
    """What is said of an option that is none: of the command's own and the config's keys, the
    nearest."""
    keys = keys_of(StudySpec) if config else []
    level = [each.removeprefix("--") for each in known if each != "--help"] + [
        key for key in keys if "." not in key
    ]
    return (
        f"{option}: no such option. "
        f"{unknown_key(option.removeprefix('--'), level, '--', [f'--{k}' for k in keys])}"
    )


def _config(own: list[str]) -> str | None:
    """CONFIG, wherever it stands, taken out of the words that are no overrides."""
    is_yaml = [
        i
        for i, word in enumerate(own)
        if word.endswith((".yaml", ".yml")) and own[i - 1 : i] != ["--config"]
    ]
    index = 0 if own and not own[0].startswith("-") else is_yaml[0] if is_yaml else None
    return None if index is None else own.pop(index)


def _explain(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit status."""
    if isinstance(error, ArgumentError):
        return _plainly(str(error)), 2
    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, RunError):
        return str(error), 1
    chain, cause = [], error
    while cause is not None:
        chain.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    full = next((line for line in chain if "No space left" in line or "disk is full" in line), None)
    if full:
        return (
            f"the disk is full ({full.splitlines()[0]}): free room, then give the command again",
            1,
        )
    if isinstance(error, OSError) and error.filename:
        wrong_place = isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError))
        return f"{error.filename}: {error.strerror}", 2 if wrong_place else 1
    return f"failed: {chain[0].splitlines()[0]} (--debug shows where)", 1


def _plainly(text: str) -> str:
    """The parser's message of a command's own option, without the names of Python's types."""
    wrong = re.search(
        r'key "(\w+)":\s+Expected an? (?:<class )?\'?(\w+).*?\. Got value: (.*)', text
    )
    if wrong:
        accepted = {type_.__name__: words for type_, words in WORDS.items()}.get(
            wrong[2], f"a {wrong[2]}"
        )
        return f"--{wrong[1]}: found '{wrong[3]}'; accepted is {accepted}."
    return " ".join(text.split())


def _say(message: str, status: int) -> int:
    rank = _launched("RANK", "SLURM_PROCID", 0)
    print(f"study{f' (rank {rank})' if rank else ''}: {message}", file=sys.stderr)
    return status


def _launched(torchrun: str, slurm: str, alone: int) -> int:
    """What a launcher says of this process, without PyTorch; SLURM speaks of one within a step
    only."""
    found = os.environ.get(
        torchrun, os.environ.get(slurm) if "SLURM_STEP_ID" in os.environ else None
    )
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
