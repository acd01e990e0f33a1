"""How far a study is: two bars on a terminal, a line an evaluation elsewhere."""

import sys
import time
from typing import Any, TextIO


class Progress:
    """The study's bar (its unit is a sample of one network) and, above it, that of the current evaluation.

    `stream` gets the bars; where it is no terminal, one line for each evaluation, with the time that is left.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._total, self._done, self._fresh, self._began = 0, 0, 0, time.time()
        self._study: Any = None
        self._evaluation: Any = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expect(self, total: int) -> None:
        """About how much there is to do in all, what is done already included."""
        self._total = max(total, self._done)
        if self._terminal and total:
            self._study = self._bar(self._total, "study", 1)
            self._study.update(self._done)

    def start(self, name: str, samples: int) -> None:
        """An evaluation begins."""
        if self._terminal:
            self._evaluation = self._bar(samples, name, 0)

    def samples(self, n: int) -> None:
        """n samples of the evaluation are done."""
        if self._evaluation is not None:
            self._evaluation.update(n)

    def finish(self, name: str, cost: int, outcome: str, began: float, ended: float) -> None:
        """An evaluation has ended, here or in another process, now or in an earlier run; `cost` as in the total."""
        self._done += cost
        fresh = began >= self._began
        self._fresh += cost if fresh else 0
        if self._evaluation is not None:
            self._evaluation.close()
            self._evaluation = None
        if self._study is not None:
            self._study.total = max(self._study.total, self._done)
            self._study.update(cost)
        if fresh and not self._terminal:
            share = f"[{100 * self._done / max(self._total, self._done, 1):3.0f} %] " if self._total else ""
            left = f", {self._left()} left" if self._total else ""
            print(f"{share}{name}: {outcome}   {ended - began:.1f} s{left}", file=self._stream, flush=True)

    def close(self) -> None:
        for bar in (self._evaluation, self._study):
            if bar is not None:
                bar.close()
        self._evaluation = self._study = None

    def _left(self) -> str:
        if not self._fresh:
            return "some time"
        seconds = (time.time() - self._began) / self._fresh * max(self._total - self._done, 0)
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

    def _bar(self, total: int, name: str, position: int) -> Any:
        from tqdm import tqdm

        last = position == 1
        form = "{desc:<44.44} {percentage:3.0f} % |{bar:24}| " + ("{remaining} left" if last else "{rate_fmt}")
        return tqdm(total=total, desc=name, position=position, leave=last, file=self._stream, bar_format=form,
                    unit=" samples", dynamic_ncols=True, mininterval=0.2)  # fmt: skip
