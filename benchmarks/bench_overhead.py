"""evaluation_overhead: the time of an evaluation that samples nothing, in milliseconds, kept, shown and reported."""

import tempfile
import time
from pathlib import Path
from typing import Any

import study.modules.sample as sampling
import study.run
from study.config import load_spec
from study.records import Results
from study.run import evaluator_of, opened

EVALUATIONS = 50
SMALL = [
    "--extractors", "[pixels]", "--sampler.steps", "2", "--sampler.solver", "euler", "--search.samples", "8",
    "--confirm.samples", "8", "--confirm.seed_sets", "2", "--search.method", "grid", "--search.weight", "[1, 3.5]",
]  # fmt: skip


def main() -> None:
    """The digits base with a sampler that returns its noise, searched over a grid of 51 weights by one process."""
    ended: list[float] = []
    sampling.sample_chunk = lambda denoiser, start, *_: start.noise  # type: ignore[assignment]
    spec = load_spec(
        Path(__file__).parent.parent / "configs" / "digits.yaml",
        [*SMALL, "--search.budget", "null", "--search.tolerance", "null"],
    )
    with tempfile.TemporaryDirectory() as folder:
        evaluator = evaluator_of(spec, Path(folder))
        outcome = evaluator.outcome

        def timed(*args: Any) -> Any:
            ended.append(time.perf_counter())
            return outcome(*args)

        evaluator.outcome = timed  # type: ignore[method-assign]
        with opened(evaluator, Path(folder)) as study_:
            study.run.search(study_.worker, study_.progress)
    gaps = sorted(b - a for a, b in zip(ended[:-1], ended[1:]))
    print(len(gaps), f"evaluation_overhead {1000 * gaps[len(gaps) // 2]:.0f}", [round(1000 * g) for g in gaps[::20]])


if __name__ == "__main__":
    main()
