"""workers_speedup: a study by one worker with one thread, over the same by two workers with one
thread each."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from study.results import read

CONFIG = Path(__file__).parent.parent / "configs" / "digits.yaml"


def study(root: str, workers: int) -> tuple[float, pd.DataFrame]:
    """The wall time of a study in processes of their own, imports, confirmation and report
    included, and its scores."""
    command = [
        sys.executable,
        "-m",
        "study.cli",
        "run",
        str(CONFIG),
        "--root",
        root,
        "--workers",
        str(workers),
    ]
    began = time.perf_counter()
    subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True
    )
    seconds = time.perf_counter() - began
    keys = ["part", "main", "guide", "coupling", "weight", "seed", "steps", "ends"]
    return seconds, read("digits", root).trials.set_index(keys).sort_index()["fd_digits"]


def main() -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        (slow, alone), (fast, shared) = study(one, 1), study(two, 2)
    assert alone.equals(shared), "two workers found other scores than one"
    print(f"workers_speedup {slow / fast:.2f}")
    print(f"one worker {slow:.0f} s, two {fast:.0f} s, {len(alone)} equal scores", file=sys.stderr)


if __name__ == "__main__":
    main()
