"""How far a study is: two bars on a terminal, a line an evaluation elsewhere."""

import sys
import time
from typing import Any, TextIO


class Progress:
    """The study's bar (its unit is a sample of one network) and, above it, that of the current evaluation.

    `stream` gets the bars; where it is no terminal, one line for each evaluation, with the time that is left.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._total, self._done, self._fresh, self._began = total, 0, 0, time.monotonic()
        self._best = ""
        self._study: Any = self._bar(total, "study", 1) if self._terminal else None
        self._evaluation: Any = None
        self._started = 0.0

    def start(self, name: str, samples: int) -> None:
        """An evaluation begins."""
        self._name, self._started = name, time.monotonic()
        if self._terminal:
            self._evaluation = self._bar(samples, name, 0)

    def samples(self, n: int) -> None:
        """n samples of the evaluation are done."""
        if self._evaluation is not None:
            self._evaluation.update(n)

    def finish(self, cost: int, outcome: str, best: str = "", known: bool = False) -> None:
        """An evaluation has ended, or was known already; `cost` as in the total."""
        self._done += cost
        self._best = best
        if not known:
            self._fresh += cost
        if self._terminal:
            if self._evaluation is not None:
                self._evaluation.close()
                self._evaluation = None
            self._study.set_postfix_str(self._best, refresh=False)
            self._study.update(cost)
        elif not known:
            seconds = time.monotonic() - self._started
            share, best = 100 * self._done / self._total, f"   ({self._best})" if self._best else ""
            line = f"[{share:3.0f} %] {self._name}: {outcome}   {seconds:.1f} s, {self._left()} left{best}"
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        for bar in (self._evaluation, self._study):
            if bar is not None:
                bar.close()

    def _left(self) -> str:
        if not self._fresh:
            return "some time"
        seconds = (time.monotonic() - self._began) / self._fresh * (self._total - self._done)
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

    def _bar(self, total: int, name: str, position: int) -> Any:
        from tqdm import tqdm

        last = position == 1
        form = "{desc:<44.44} {percentage:3.0f} % |{bar:24}| " + (
            "{remaining} left  {postfix}" if last else "{rate_fmt}"
        )
        return tqdm(total=total, desc=name, position=position, leave=last, file=self._stream, bar_format=form,
                    unit=" samples", dynamic_ncols=True, mininterval=0.2)  # fmt: skip
