"""What the benchmarks share."""

import time
from collections.abc import Callable


def ratio(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> float:
    """Median over repeats of time(ours)/time(theirs), measured in turns within one run, after one warm-up of each."""
    ours()
    theirs()
    ratios = []
    for _ in range(repeats):
        ratios.append(seconds(ours) / seconds(theirs))
    return sorted(ratios)[len(ratios) // 2]


def seconds(call: Callable[[], object]) -> float:
    """The wall time of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
