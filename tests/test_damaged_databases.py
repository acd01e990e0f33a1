"""Databases that are damaged, missing, or may not be written."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from degradations import InputError
from study.cli.main import call
from study.files.sqlite import connect, damage
from study.search.collect import collect
from study.tracking.database import open_client
from tests.small_study import SMALL, runs_of, table


def damaged_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not a database at all")


def damaged_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def half_made(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE experiments (a)")


DAMAGES = [damaged_header, damaged_page, truncated, half_made]


@pytest.mark.parametrize("damaged", DAMAGES, ids=lambda damaged: damaged.__name__)
def test_a_damaged_database_of_studies_is_named_with_what_to_do(
    root: Path, damaged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(root / "optuna.db")
    before = (root / "optuna.db").read_bytes()
    for command in (["run", *SMALL], ["table", "small"], ["sync", "small"], ["worker", *SMALL]):
        capsys.readouterr()
        assert call([*command, "--root", str(root)]) == 2
        said = capsys.readouterr().err
        assert all(text in said for text in ("optuna.db", "damaged", ".recover", "move it away"))
        assert "Traceback" not in said
    assert (root / "optuna.db").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "text"), [("outcome", '{"scores": {}, "later": 2}'), ("task", '{"later": 2}')]
)
def test_records_of_a_later_version_are_not_called_damaged(
    root: Path, key: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(root / "optuna.db")) as connection, connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = ?", (text, key)
        )
    assert call(["table", "small", "--root", str(root)]) == 2
    said = capsys.readouterr().err
    assert f"a stored {key} has later, which this version does not know" in said
    assert "damaged" not in said


@pytest.mark.parametrize("text", ['{"half', "[]", '"x"'])
def test_a_damaged_entry_of_a_whole_database_is_said_so(
    root: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(root / "optuna.db")) as connection, connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'outcome'", (text,)
        )
    assert call(["table", "small", "--root", str(root)]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in ("optuna.db", "damaged", "move it away"))


@pytest.mark.parametrize("damaged", DAMAGES, ids=lambda damaged: damaged.__name__)
def test_a_damaged_view_is_set_aside_and_made_anew(
    root: Path, damaged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(root / "mlflow.db")
    before = (root / "mlflow.db").read_bytes()
    open_client(root).search_experiments()
    said = capsys.readouterr().err
    (aside,) = root.glob("mlflow.db.damaged-*")
    assert all(text in said for text in ("was damaged", aside.name, "study sync"))
    assert aside.read_bytes() == before
    assert damage(root / "mlflow.db", ("experiments", "runs")) is None


@pytest.mark.slow
def test_a_study_goes_on_with_a_new_view_where_the_old_one_is_damaged(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged_page(root / "mlflow.db")
    assert call(["run", *SMALL, "--root", str(root), "--search.trials", "2"]) == 0
    assert "was damaged" in capsys.readouterr().err
    assert {run.info.status for run in runs_of(root)} == {"FINISHED"}
    shown = sum(run.data.tags["level"] == "evaluation" for run in runs_of(root))
    results = collect(root, "small")
    assert shown == len(results.shared) + sum(len(found) for found in results.searches.values())


def test_a_table_needs_no_permission_to_write_and_no_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing may be written SQLite is told so, and it would fail if it had to write all the
    same."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a lock was taken")

    expected = table(root, capsys)
    monkeypatch.setattr("study.files.sqlite.os.access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr("study.search.database.locked", never)
    monkeypatch.setattr("study.search.store.locked", never)
    assert table(root, capsys) == expected
    with (
        closing(connect(root / "optuna.db")) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM trials")
    with closing(connect(root / "mlflow.db")) as connection:  # in write-ahead mode
        assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] > 0


def test_reading_a_database_that_is_missing_makes_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no studies"):
        collect(tmp_path, "small")
    assert list(tmp_path.iterdir()) == []
