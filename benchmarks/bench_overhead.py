"""evaluation_overhead: milliseconds of an evaluation that samples nothing, kept and shown as all
are; the median."""

import os

os.environ.update(GOMP_SPINCOUNT="1000", OPENBLAS_NUM_THREADS="1")  # as the command line sets them

import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import study.engine.run
import study.lightning.sample as sampling
from study.cli.config import load_spec
from study.engine.check import evaluator_of
from study.engine.session import opened

EVALUATIONS = 50
SMALL = [
    "--extractors",
    "[pixels]",
    "--search.samples",
    "8",
    "--search.budget",
    "null",
    "--search.tolerance",
    "null",
    "--search.method",
    "grid",
    "--search.weight",
    "[1, 3.5]",
    "--pairings",
    "[{main: noise(0.2), guide: noise(0.4)}]",
    "--confirm.samples",
    "8",
    "--confirm.seed_sets",
    "2",
]


def main() -> None:
    """A grid of weights of the digits base, with a sampler that returns its noise, by one
    process."""
    began: list[float] = []
    sampling.sample_chunk = lambda denoiser, start, *_: start.noise  # type: ignore[assignment]
    spec = load_spec(Path(__file__).parent.parent / "configs" / "digits.yaml", SMALL)
    with tempfile.TemporaryDirectory() as folder:
        evaluator = evaluator_of(spec, Path(folder))
        outcome = evaluator.outcome

        def noted(*args: Any) -> Any:
            began.append(time.perf_counter())
            return outcome(*args)

        evaluator.outcome = noted  # type: ignore[method-assign]
        with opened(evaluator, Path(folder)) as study_:
            study.engine.run.search(study_.worker)
    gaps = [b - a for a, b in pairwise(began)][-EVALUATIONS:]
    print(f"evaluation_overhead {1000 * median(gaps):.0f}")


if __name__ == "__main__":
    main()
