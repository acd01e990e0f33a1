"""A study by a launched group of processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_launched_group_shares_every_evaluation(tmp_path: Path) -> None:
    """Two processes give the scores of one to 1e-9, and only the first writes and speaks."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    group = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found = {}
    for name, launcher in (("one", []), ("two", group)):
        root = tmp_path / name
        command = [
            sys.executable,
            *launcher,
            "-m",
            "study.cli",
            "run",
            "tests/small.yaml",
            "--search.prune",
            "true",
            "--search.samples",
            "360",
            "--root",
            str(root),
        ]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.count("Tables and figures") == 1
        found[name] = json.loads((root / "reports" / "small" / "table.json").read_text())
    for one, two in zip(found["one"], found["two"], strict=True):
        for key, value in one.items():
            if isinstance(value, float):
                assert two[key] == pytest.approx(value, rel=1e-9), key
            elif not isinstance(value, list):
                assert two[key] == value, key
