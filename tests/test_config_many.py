"""Configs of many pairings."""

from pathlib import Path

import pytest

from degradations import InputError
from study.cli.config import load_spec
from tests.config_texts import PLAIN


def many(count: int, folder: Path) -> Path:
    path = folder / "many.yaml"
    lines = [
        f"  - {{main: noise({i / 1e5}), guide: noise({i / 1e4})}}\n" for i in range(1, count + 1)
    ]
    path.write_text(f"{PLAIN}extractors: [digits]\npairings:\n{''.join(lines)}")
    return path


def test_a_plan_of_many_pairings_is_a_page(tmp_path: Path) -> None:
    from study.engine.plan import estimate

    said = estimate(load_spec(many(40, tmp_path)), tmp_path / "root").splitlines()
    assert len(said) < 40
    assert "  and 28 more" in said


def test_of_repeated_pairings_those_are_shown(tmp_path: Path) -> None:
    path = many(1, tmp_path)
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    with pytest.raises(
        InputError,
        match=r"pairings: found \['noise\(1e-05\) → noise\(0.0001\), independent'\]; "
        r"accepted: each",
    ):
        load_spec(path)


@pytest.mark.slow
def test_twenty_thousand_pairings_are_planned_on_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each name is parsed once, however often it is asked for."""
    from degradations import parsing
    from study.engine.plan import estimate

    parsed: list[str] = []
    part = parsing._part
    monkeypatch.setattr(
        parsing, "_part", lambda text, found: parsed.append(text) or part(text, found)
    )
    said = estimate(load_spec(many(20_000, tmp_path)), tmp_path / "root")
    assert "  and 19,988 more" in said
    assert len(parsed) <= len(set(parsed)) + 10
