"""The progress of a study: two bars on a terminal, otherwise one line per evaluation."""

import sys
import time
from typing import Any, TextIO

COLUMNS = 80
NAME = 36  # columns for the name beside a bar


class Progress:
    """The progress bar of the study and, above it, that of the current evaluation.

    stream: receives the bars or, if it is not a terminal, one line per evaluation with the time
    left, within 80 columns. metric: the score that the lines show. The study's unit is `Task.cost`.
    """

    def __init__(self, stream: TextIO | None = None, metric: str = "") -> None:
        self._stream, self._metric = stream or sys.stderr, metric
        self._terminal = self._stream.isatty()
        self._left: int | None = None  # remaining cost; None: unknown
        self._done, self._fresh, self._began = 0, 0, time.time()
        self._study: Any = None
        self._evaluation: Any = None
        self._headed = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expect(self, left: int) -> None:
        """Set the estimated remaining work, in the unit of `finish`'s cost."""
        self._left = left
        if self._terminal and self._study is None and left:
            self._study = self._bar(self._done + left, "study", 1)
            self._study.update(self._done)
        self._show_share()

    def start(self, name: str, samples: int) -> None:
        """Show the beginning of an evaluation."""
        if self._terminal:
            self._evaluation = self._bar(samples, name, 0)

    def samples(self, n: int) -> None:
        """Count n samples of the current evaluation as done."""
        if self._evaluation is not None:
            self._evaluation.update(n)

    def finish(self, name: str, cost: int, outcome: str, began: float) -> None:
        """Show the end of an evaluation of this or another process, now or in an earlier run."""
        self._done += cost
        self._left = None if self._left is None else max(self._left - cost, 0)
        fresh = began >= self._began
        self._fresh += cost if fresh else 0
        if self._evaluation is not None:
            self._evaluation.close()
            self._evaluation = None
        if self._study is not None:
            self._study.update(cost)
            self._show_share()
        if fresh and not self._terminal:
            self._line(name, outcome)

    def say(self, text: str) -> None:
        """Print a message between the bars or lines."""
        if self._study is not None or self._evaluation is not None:
            from tqdm import tqdm

            tqdm.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        for bar in (self._evaluation, self._study):
            if bar is not None:
                bar.close()
        self._evaluation = self._study = None

    def _line(self, name: str, outcome: str) -> None:
        if not self._headed and self._metric:
            share = "share done, time left; " if self._left is not None else ""
            print(f"{share}evaluation: {self._metric}", file=self._stream)
        self._headed = True
        share = "" if self._left is None else f"[{self._share():3.0f} %, {self._time_left()} left] "
        print(
            f"{share}{fit(name, COLUMNS - len(share) - len(outcome) - 2)}: {outcome}",
            file=self._stream,
            flush=True,
        )

    def _share(self) -> float:
        # 100 only at the end.
        return 100.0 if not self._left else min(100 * self._done / (self._done + self._left), 99)

    def _time_left(self) -> str:
        if not self._fresh:
            return "unknown time"
        seconds = (time.time() - self._began) / self._fresh * (self._left or 0)
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

    def _show_share(self) -> None:
        if self._study is not None and self._left is not None:
            self._study.total = self._done + self._left
            self._study.set_description_str(f"{f'study, {self._time_left()} left':{NAME}}")

    def _bar(self, total: int, name: str, position: int) -> Any:
        from tqdm import tqdm

        last = position == 1
        form = "{desc} {percentage:3.0f} % |{bar:12}|" + ("" if last else " {rate_fmt}")
        return tqdm(
            total=total,
            desc=f"{fit(name, NAME):{NAME}}",
            position=position,
            leave=last,
            file=self._stream,
            bar_format=form,
            unit=" samples",
            ncols=COLUMNS,
            mininterval=0.2,
        )


def fit(text: str, columns: int) -> str:
    """A text, with its middle left out if it is longer than `columns`."""
    if len(text) <= columns:
        return text
    end = max(columns // 2, 1)
    return f"{text[: max(columns - end - 1, 0)]}…{text[-end:]}"
