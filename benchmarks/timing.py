"""What the benchmarks share."""

import time
from collections.abc import Callable


def ratio(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> float:
    """Median over repeats of time(ours)/time(theirs), measured in turns within one run, after one
    warm-up of each."""
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


class Checks:
    """Prints `name value` with a bound and whether the value is within it, and remembers whether
    all were."""

    failed = False

    def at_most(self, name: str, found: float, bound: float) -> None:
        good = found <= bound  # which nan is not
        self.failed |= not good
        print(f"{name} {found:.2g} {'ok' if good else 'FAILED'}, at most {bound:.2g}", flush=True)

    def run(self, name: str, check: Callable[["Checks"], None]) -> None:
        """Run a check; what it raises fails it, unless it is that a package of others is not
        installed."""
        try:
            check(self)
        except Exception as error:
            package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
            if package and package not in ("study", "degradations"):
                print(f"# {name}: skipped, {package} is not installed", flush=True)
                return
            self.failed = True
            print(f"{name} FAILED: {type(error).__name__}: {first_line(error)}", flush=True)


def first_line(error: object) -> str:
    """The first line of a message that has something in it, cut to a line's length."""
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), "")
