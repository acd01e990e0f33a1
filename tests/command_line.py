"""What tests of the command line need: a small config, and what a rejected command says."""

import pytest

from study.cli.main import call

SMALL = "tests/small.yaml"


def says(capsys: pytest.CaptureFixture[str], argv: list[str], status: int, *texts: str) -> None:
    """A command line ends with a status and one message that contains the texts, without a
    traceback."""
    capsys.readouterr()
    assert call(argv) == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("study: ")
    for text in texts:
        assert text in err
