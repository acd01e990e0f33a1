"""SQLite databases: created atomically, readable without write permission, checked for damage."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from study.files.atomic import replacing

PATIENCE = 60  # seconds to wait for another process's transaction
BESIDE = (
    "",
    "-wal",
    "-shm",
    "-journal",
)  # suffixes of a database and of the files that SQLite keeps beside it


def connect(path: Path) -> sqlite3.Connection:
    """A connection to an existing database, for SQLAlchemy's pools, which share it between threads.

    Without write permission the connection is read-only. A database in write-ahead mode can then be
    read only if SQLite is told that nobody changes it; this holds while there is no log beside it.
    """
    mode = "mode=rw"
    if not all(os.access(place, os.W_OK) for place in (path, path.parent)):
        still = _in_wal_mode(path) and not path.with_name(f"{path.name}-wal").exists()
        mode = "mode=ro&immutable=1" if still else "mode=ro"
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?{mode}", timeout=PATIENCE, check_same_thread=False, uri=True
    )


def make_whole(path: Path, make: Callable[[Path], None]) -> None:
    """Create a database atomically: a process that is killed meanwhile leaves none.

    make: fills the empty file at the path that it receives, and closes it.
    """
    with replacing(path) as part:
        make(part)


def damage(path: Path, tables: tuple[str, ...]) -> str | None:
    """What is wrong with a database: SQLite's finding, or a missing table; None if nothing is.

    Raises sqlite3.OperationalError if it cannot be read for another reason, such as a lock or a
    permission.
    """
    try:
        with closing(connect(path)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            known = {
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            }
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    missing = [f"no table {table}" for table in tables if table not in known]
    return next((text for text in [str(found).splitlines()[0], *missing] if text != "ok"), None)


def set_aside(path: Path, new: Path) -> None:
    """Rename a database together with the files that SQLite keeps beside it."""
    for suffix in BESIDE:
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(new.with_name(new.name + suffix))


def _in_wal_mode(path: Path) -> bool:
    """Whether a database is in write-ahead mode, by the versions in bytes 18 and 19."""
    with path.open("rb") as file:
        return file.read(20)[18:20] == b"\2\2"
