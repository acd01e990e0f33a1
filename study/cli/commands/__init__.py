"""The commands of the command line, one file each, with imports deferred until a command runs."""

from study.cli.commands import (
    calibrate,
    convert,
    dashboard,
    init,
    list_,
    probe,
    reference,
    run,
    sample,
    samplers,
    score,
    sync,
    table,
    train,
    worker,
)
from study.cli.commands.command import Command

COMMANDS: dict[str, Command] = {
    "init": init.COMMAND,
    "run": run.COMMAND,
    "worker": worker.COMMAND,
    "probe": probe.COMMAND,
    "calibrate": calibrate.COMMAND,
    "train": train.COMMAND,
    "sample": sample.COMMAND,
    "samplers": samplers.COMMAND,
    "score": score.COMMAND,
    "reference": reference.COMMAND,
    "convert": convert.COMMAND,
    "table": table.COMMAND,
    "list": list_.COMMAND,
    "dashboard": dashboard.COMMAND,
    "sync": sync.COMMAND,
}
