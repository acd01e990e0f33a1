"""The command line: runs a command, and turns errors into one message and an exit status."""

import atexit
import contextlib
import os
import re
import sys
from importlib.metadata import version

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from degradations.errors import InputError, RunError
from study.cli.commands import COMMANDS
from study.cli.commands.command import Command
from study.cli.config import is_key
from study.files.plugins import Permission
from study.parallel.signals import interruptible
from study.specs import StudySpec
from study.specs.typed import WORDS, keys_of, meant, unknown_key


def main() -> None:
    """The command `study`; exits with 0 (done), 1 (failed) or 2 (wrong usage or input error)."""
    status: list[int] = []
    atexit.register(_leave, status)  # registered first, so called last
    status.append(call(sys.argv[1:]))
    sys.exit(status[0])


def _leave(status: list[int]) -> None:
    """End the process at once; the interpreter would take seconds to unload PyTorch and MLflow."""
    if status:
        for stream in (sys.stdout, sys.stderr):
            # its reader has ended, or it was closed
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status[0])


def call(argv: list[str]) -> int:
    """Run a command line; returns its exit status."""
    with interruptible():
        try:
            return _call(argv)
        except BrokenPipeError:  # the reader of the output has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1


def _call(argv: list[str]) -> int:
    # PyTorch's threads wait by spinning, billions of times by default: next to another busy process
    # each then waits for the other's time slice, and sampling becomes eight times slower. Fewer
    # spins cost nothing when the process is alone.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # SciPy's threads wait in the same way, which cannot be configured, and gain nothing on matrices
    # of this size, so there is only one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"degradation-study {version('degradation-study')}")
        return 0
    if argv[0] not in COMMANDS:
        return _say(
            f"unknown command '{argv[0]}'.{meant(argv[0], COMMANDS)} Available are: "
            f"{', '.join(COMMANDS)}",
            2,
        )
    name, command, debug = argv[0], COMMANDS[argv[0]], "--debug" in argv
    if _launched("WORLD_SIZE", "SLURM_NTASKS", 1) > 1 and not command.shared:
        return _say(
            f"study {name} runs in one process; only study run and sample can be shared by a "
            "launched group (torchrun, SLURM).",
            2,
        )
    helps = bool({"-h", "--help"} & set(argv))
    parser = _parser(name, command, helps)
    try:
        args = _parsed(parser, argv[1:], command) if not helps else parser.parse_args(["--help"])
        # before the imports, which take seconds
        if command.config and not _launched("RANK", "SLURM_PROCID", 0):
            print(
                f"study: config {args.config}, outputs in {args.root}", file=sys.stderr, flush=True
            )
        Permission.granted = command.config and args.allow_plugins
        return command.run(args)
    except SystemExit as exit_:  # --help
        return int(exit_.code or 0)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _say("interrupted; what was finished is kept, and the same command resumes it", 1)
    except Exception as error:
        if debug:
            raise
        return _say(*_explain(error))


def _parser(name: str, command: Command, helps: bool) -> ArgumentParser:
    """The options of a command; helps: also those of the config, for the help text.

    Otherwise `study.cli.config` reads the options of the config.
    """
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
        help="folder of all outputs (default: mlruns, or $STUDY_ROOT)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if command.config:
        parser.add_argument(
            "--allow-plugins", action="store_true", help="run the plug-ins that the config names"
        )
        parser.add_argument("--config", type=str, help="YAML file of the study; the same as CONFIG")
    if command.config and helps:
        parser.add_class_arguments(
            StudySpec, None, help="keys of the config, each of which can be overridden"
        )
        _hide_foreign(parser)
    return parser


def _hide_foreign(parser: ArgumentParser) -> None:
    """Leave out of the help what jsonargparse adds for its own reading of configs, not ours."""
    from argparse import SUPPRESS

    for action in parser._actions:
        is_help = any(each.endswith(".help") for each in action.option_strings)
        if is_help or action.help == "Path to a configuration file.":
            action.help = SUPPRESS


def _parsed(parser: ArgumentParser, argv: list[str], command: Command) -> Namespace:
    """The arguments of a command; if it takes a config, with `config` and its `overrides`."""
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
                f"{parser.prog}: found no CONFIG; give a YAML file, or a name of `study list "
                "configs`, such as digits."
            )
    return args


def _unknown(option: str, known: list[str], config: bool) -> str:
    """The message for an unknown option, with the nearest option of the command or config."""
    keys = keys_of(StudySpec) if config else []
    level = [each.removeprefix("--") for each in known if each != "--help"] + [
        key for key in keys if "." not in key
    ]
    return (
        f"{option}: no such option. "
        f"{unknown_key(option.removeprefix('--'), level, '--', [f'--{k}' for k in keys])}"
    )


def _config(own: list[str]) -> str | None:
    """Remove CONFIG, at any position, from the words that are not overrides, and return it."""
    is_yaml = [
        i
        for i, word in enumerate(own)
        if word.endswith((".yaml", ".yml")) and own[i - 1 : i] != ["--config"]
    ]
    index = 0 if own and not own[0].startswith("-") else is_yaml[0] if is_yaml else None
    return None if index is None else own.pop(index)


def _explain(error: Exception) -> tuple[str, int]:
    """The message of an error, and the exit status."""
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
            f"the disk is full ({full.splitlines()[0]}); free space, then repeat the command",
            1,
        )
    if isinstance(error, OSError) and error.filename:
        wrong_place = isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError))
        return f"{error.filename}: {error.strerror}", 2 if wrong_place else 1
    return f"failed: {chain[0].splitlines()[0]} (--debug shows the traceback)", 1


def _plainly(text: str) -> str:
    """The parser's message about a command's option, without the names of Python's types."""
    wrong = re.search(
        r'key "(\w+)":\s+Expected an? (?:<class )?\'?(\w+).*?\. Got value: (.*)', text
    )
    if wrong:
        accepted = {type_.__name__: words for type_, words in WORDS.items()}.get(
            wrong[2], f"a {wrong[2]}"
        )
        return f"--{wrong[1]}: found '{wrong[3]}'; accepted: {accepted}."
    return " ".join(text.split())


def _say(message: str, status: int) -> int:
    rank = _launched("RANK", "SLURM_PROCID", 0)
    print(f"study{f' (rank {rank})' if rank else ''}: {message}", file=sys.stderr)
    return status


def _launched(torchrun: str, slurm: str, alone: int) -> int:
    """A launcher's variable for this process, read without PyTorch; SLURM's only within a step."""
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
    return "\n".join([*lines, "", "`study COMMAND --help` describes each command."])
