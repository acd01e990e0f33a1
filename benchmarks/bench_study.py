"""study_overhead: the share of a study's wall time that is neither sampling nor features."""

import os

os.environ.update(GOMP_SPINCOUNT="1000", OPENBLAS_NUM_THREADS="1")  # as the command line sets them

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import study.engine.run
import study.lightning.sample as sampling
from study.cli.config import load_spec
from study.engine.check import evaluator_of
from study.metrics import Tally


def main() -> None:
    """configs/digits.yaml as it is; imports of this file and the base's loading are not counted,
    all else is."""
    spent = [0.0]

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - began

        return inner

    sampling.sample_chunk = timed(sampling.sample_chunk)  # type: ignore[assignment]
    Tally.fold = timed(Tally.fold)  # type: ignore[method-assign]
    spec = load_spec(Path(__file__).parent.parent / "configs" / "digits.yaml")
    with tempfile.TemporaryDirectory() as root:
        evaluator = evaluator_of(spec, Path(root))
        study.engine.run.evaluator_of = lambda *_: evaluator  # type: ignore[assignment]
        began = time.perf_counter()
        study.engine.run.run(spec, Path(root))
        wall = time.perf_counter() - began
    print(f"study_overhead {1 - spent[0] / wall:.3f}")
    print(f"study: {wall:.0f} s, of which {spent[0]:.0f} s sampling and features", file=sys.stderr)


if __name__ == "__main__":
    main()
