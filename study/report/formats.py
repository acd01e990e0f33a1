"""The output formats of tables and lists."""

from collections.abc import Sequence

from degradations.errors import InputError

TABLES = ("md", "csv", "json")
LISTS = ("text", "json")


def require_format(form: str, accepted: Sequence[str] = TABLES) -> None:
    """Raises InputError for a format that is not accepted."""
    if form not in accepted:
        raise InputError(f"--format: found {form}; accepted: {', '.join(accepted)}.")
