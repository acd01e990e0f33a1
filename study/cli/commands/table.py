"""`study table`: prints the table of a study."""

from jsonargparse import ArgumentParser, Namespace

from study.cli.commands.command import Command, root_of


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", type=str, help="name of a study")
    parser.add_argument("--format", type=str, default="md", help="md, csv, json or latex")
    parser.add_argument(
        "--metric", type=str, default=None, help="metric to show (default: the study's primary one)"
    )


def _run(args: Namespace) -> int:
    from study.report import replication
    from study.report.rows import rows
    from study.report.table import render
    from study.search.collect import collect, collect_bases

    root = root_of(args, writes=False)
    results = collect(root, args.name)
    if results.spec.bases:
        bases = collect_bases(root, results.spec)
        print(replication.render(replication.rows(results.spec, bases, args.metric), args.format))
        return 0
    print(render(rows(results, args.metric), args.format))
    return 0


COMMAND = Command(
    "print the table of a study",
    "NAME [--format md|csv|json|latex] [--metric …]",
    """\
  study table digits
  study table digits --format json --metric fd_pixels""",
    _arguments,
    _run,
)
