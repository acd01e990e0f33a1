"""What is left of files and databases whose writer was killed."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from study.files.atomic import replacing, sweep
from study.files.sqlite import make_whole


def test_what_a_killed_writer_left_is_swept_and_what_a_live_one_writes_is_not(
    tmp_path: Path,
) -> None:
    code = "import os, sys; from pathlib import Path; from study.files.atomic import replacing\n"
    code += (
        "with replacing(Path(sys.argv[1])) as part: part.write_text('half'); os.kill(os.getpid(), "
        "9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a" / "x.json")], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob(".part-*"))) == 1
    with replacing(tmp_path / "y.db") as part:
        part.write_text("all")
        journal = part.with_name(f"{part.name}-journal")
        journal.write_text("its journal")
        sweep(tmp_path)
        assert part.exists()
        assert journal.exists()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["y.db"]


def test_a_database_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def killed(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE half (a)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_whole(tmp_path / "x.db", killed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db"])
def test_a_kill_while_a_database_is_made_leaves_none(tmp_path: Path, name: str) -> None:
    """Killed at the moment it is renamed: all of it is written, and nothing of it is there."""
    code = "import os, sys; from pathlib import Path\n"
    code += "Path.replace = lambda *_: os.kill(os.getpid(), 9)\nroot = Path(sys.argv[1])\n"
    code += (
        "from study.search import open_storage\nfrom study.tracking.database import open_client\n"
    )
    code += f"{{'mlflow.db': open_client, 'optuna.db': open_storage}}['{name}'](root)"
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / name).exists()
    sweep(tmp_path)
    assert not list(tmp_path.rglob(".part-*"))
