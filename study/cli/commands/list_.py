"""`study list`: lists the members of a family."""

from jsonargparse import ArgumentParser, Namespace

from degradations.errors import InputError
from study.cli.commands.command import Command

FAMILIES = "degradations, rules, solvers, grids, extractors, objectives, data, bases, configs"


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("family", type=str, help=f"one of {FAMILIES}")
    parser.add_argument("--format", type=str, default="text", help="text or json")


def _run(args: Namespace) -> int:
    import json

    from study.cli.plugins import load_installed
    from study.engine import catalog
    from study.report.formats import LISTS, require_format
    from study.specs.typed import meant

    require_format(args.format, LISTS)
    if args.family not in catalog.FAMILIES:
        near = meant(args.family, catalog.FAMILIES)
        raise InputError(f"no family '{args.family}'.{near} Available are: {FAMILIES}.")
    load_installed()
    found = catalog.entries(args.family)
    if args.format == "json":
        print(json.dumps([entry._asdict() for entry in found], indent=2, ensure_ascii=False))
        return 0
    widest = max(len(entry.form) for entry in found)
    for entry in found:
        paper = f" ({entry.paper})" if entry.paper else ""
        print(f"{entry.form:{widest}}  {entry.about}{paper}  [{entry.file}]")
    return 0


COMMAND = Command(
    "list what is available: degradations, rules, solvers, bases, …",
    "degradations|rules|solvers|grids|extractors|objectives|data|bases|configs [--format json]",
    """\
  study list degradations
  study list bases --format json""",
    _arguments,
    _run,
)
