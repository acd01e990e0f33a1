"""How far a study is, as people see it."""

import io
import re

import pytest

from study.report.progress import COLUMNS, Progress, fit

LONG = (
    "dropout(0.2)+noise(0.1)+label-swap(0.05) → dropout(0.4)+noise(0.2)+label-swap(0.1), "
    "independent, w 1.95"
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def go_through(stream: io.StringIO) -> str:
    """Four evaluations of equal cost, of which one was known."""
    with Progress(stream, "fd_x") as progress:
        progress.finish("base", 10, "1", began=0.0)
        for left, name in ((30, "main"), (20, LONG), (10, "guide")):
            progress.expect(left)
            progress.start(name, 5)
            progress.samples(5)
            progress.finish(name, 10, "2.345", began=1e12)
        progress.expect(0)
    return stream.getvalue()


def test_lines_say_share_and_time_left_and_fit() -> None:
    head, *lines = go_through(io.StringIO()).splitlines()
    assert head == "share done, time left; evaluation: fd_x"
    assert [re.match(r"\[ ?(\d+) %, .* left\] (.)", line).groups() for line in lines] == [  # type: ignore[union-attr]
        ("50", "m"),
        ("75", "d"),
        ("100", "g"),
    ]
    assert all(len(line) <= COLUMNS for line in (head, *lines))
    assert lines[1].endswith("w 1.95: 2.345")  # of a long name the ends are kept


def test_bars_fit() -> None:
    shown = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", go_through(Terminal()))
    lines = [line for line in re.split(r"[\r\n]+", shown) if line.strip()]
    assert any(line.startswith("study, ") and "left" in line for line in lines)
    assert all(len(line) <= COLUMNS for line in lines)


def test_it_is_not_all_done_before_the_end() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.expect(100_000)
        progress.finish("a", 99_990, "1", began=1e12)
        assert "[ 99 %," in stream.getvalue()


@pytest.mark.parametrize("columns", [2, 10, 60])
def test_a_long_name_is_fitted(columns: int) -> None:
    found = fit(LONG, columns)
    assert len(found) <= columns
    assert fit("short", 10) == "short"
