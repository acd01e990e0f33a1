"""MLflow's database under a root; it can be rebuilt, so a damaged one is moved and replaced."""

import logging
import os
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.files.lock import locked
from study.files.sqlite import connect, damage, make_whole, set_aside

if TYPE_CHECKING:
    from mlflow import MlflowClient

TABLES = ("experiments", "runs", "tags", "metrics", "alembic_version")


def database(root: Path) -> str:
    """The address of MLflow's database under a root."""
    return f"sqlite:///{(root / 'mlflow.db').resolve()}"


def artifacts(root: Path) -> Path:
    """The folder of MLflow's artifacts under a root."""
    return (root / "artifacts").resolve()


def open_client(root: Path) -> "MlflowClient":
    """A client of the root's database, which is created if it is missing or damaged."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "mlflow.db"
    with locked(root / "mlflow.lock"):
        if path.exists() and (found := damage(path, TABLES)):
            aside = path.with_name(f"mlflow.db.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            set_aside(path, aside)
            print(
                f"study: {path} was damaged ({found}). It is now {aside.name}, and a new one is "
                "created; `study sync NAME` restores the records of a study.",
                file=sys.stderr,
            )
        if not path.exists():
            make_whole(path, _make)
        with closing(connect(path)) as connection, connection:
            # In WAL mode readers and a writer do not block each other, and a transaction does not
            # wait for the disk: a power failure may lose the last ones, which can be rebuilt.
            with suppress(sqlite3.OperationalError):  # in use: the mode stays as it is for now
                connection.execute("PRAGMA journal_mode=WAL")
            _relocate(connection, root)
    client = _client(database(root))
    _relax_durability(store_of(client).engine)
    return client


def store_of(client: "MlflowClient") -> Any:
    """MLflow's internal store, which writes hundreds of runs in a second; a client takes 30 s."""
    return client._tracking_client.store


def _client(address: str) -> "MlflowClient":
    """A client without telemetry, and without the log messages that importing MLflow enables."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=address)


def _make(path: Path) -> None:
    client = _client(f"sqlite:///{path.resolve()}")
    client.search_experiments(max_results=1)
    store_of(client).engine.dispose()


def _relax_durability(engine: Any) -> None:
    from sqlalchemy import event

    def relax(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", relax)
    engine.dispose()  # existing connections were opened without this


def _relocate(connection: sqlite3.Connection, root: Path) -> None:
    """Correct the addresses of artifacts, which MLflow stores as absolute, in a copied root."""
    here = artifacts(root).as_uri()
    kept = connection.execute(
        "SELECT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'"
    )
    folders = {
        location.rpartition("/artifacts/")[0] + "/artifacts"
        for (location,) in kept
        if "/artifacts/" in location
    }
    for there in folders - {here}:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, "
                "?) = ?",
                (here, len(there) + 1, len(there) + 1, f"{there}/"),
            )
