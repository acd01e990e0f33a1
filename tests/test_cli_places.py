"""Folders, ports and disks that a command cannot use, each named in one message."""

import os
import socket
from pathlib import Path

import pytest

from study.cli.main import call
from tests.command_line import SMALL, says


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "within"):
        says(
            capsys,
            ["run", SMALL, "--root", str(root)],
            2,
            f"--root {root}",
            "is a file; accepted: a folder",
        )
    says(capsys, ["run", SMALL, "--root", "x" * 300], 2, "--root", "too long")
    says(capsys, ["train", SMALL, "--out", str(tmp_path / "file")], 2, "--out", "is a file")
    monkeypatch.setattr("study.files.places.os.access", lambda place, mode: not mode & os.W_OK)
    says(
        capsys,
        ["run", SMALL, "--root", str(tmp_path / "new")],
        2,
        f"no permission to write in {tmp_path}",
    )
    # which writes nothing
    assert call(["run", SMALL, "--root", str(tmp_path / "new"), "--plan"]) == 0


def test_a_missing_folder_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "misspelt" / "out"
    says(
        capsys,
        ["reference", "digits", "--out", f"{out}.npz", "--extractor", "digits"],
        2,
        "does not exist; create it first",
    )
    says(
        capsys,
        ["convert", str(tmp_path / "x.pkl"), f"{out}.safetensors"],
        2,
        "does not exist; create it first",
    )
    assert not list(tmp_path.iterdir())


def test_data_elsewhere_are_no_place_for_a_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from study.data import Data
    from study.specs import RecipeSpec
    from study.training import folder_of

    (tmp_path / "images").mkdir()
    small = str(Path(SMALL).resolve())
    monkeypatch.chdir(tmp_path / "images")
    mine = Data("mine", torch.zeros(1, 2))
    for data in (str(tmp_path / "images"), "../images", ".."):
        argv = ["train", small, "--recipe.data", data, "--root", str(tmp_path / "r")]
        says(capsys, argv, 2, f"{data}: no images in it")
        folder = folder_of(RecipeSpec(data), tmp_path / "r", mine)
        assert folder.resolve().parent == tmp_path / "r" / "bases"
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert folder_of(RecipeSpec(), Path("r"), mine) == Path("r/bases/digits-5e71cc8ee77f")


def test_a_port_in_use_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        says(
            capsys,
            ["dashboard", "--port", str(port), "--root", str(tmp_path)],
            1,
            str(port),
            "--port",
        )
    says(capsys, ["dashboard", "--port", "99999"], 2, "99999")


def test_a_full_disk_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    import study.files.images

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study.files.images.np, "savez_compressed", full)
    out = tmp_path / "out"
    says(
        capsys,
        ["sample", SMALL, "--samples", "4", "--out", str(out)],
        1,
        "disk is full",
        "No space left",
    )
    assert {p.name for p in out.iterdir()} == {"grid.png"}
