"""A plain config, and what is said of one that is rejected."""

from pathlib import Path

import pytest

from degradations import InputError
from study.cli.config import load_spec

PLAIN = "name: x\nbase: digits\n"


def rejection(content: str | bytes, tmp_path: Path, *overrides: str) -> str:
    """What is said of a config, a line of bounded length that names the file."""
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as rejected:
        load_spec(path, overrides)
    said = str(rejected.value)
    assert "\n" not in said
    assert len(said) < 1500
    assert str(path) in said or overrides
    return said.removeprefix(f"config '{path}': ")
