"""At what strength a kind of degradation does a given damage: a root found among evaluations, one
at a time."""

import math
from dataclasses import dataclass

from degradations import Kind, RunError, kinds, parse
from study.records.results import Results
from study.records.task import BASE

FIRST, FIRST_BITS = 0.1, 6.0  # where a search begins
LEAST, MOST, MOST_BITS = 1e-4, 100.0, 16.0  # how far it goes where the kind itself has no end


@dataclass(frozen=True)
class Calibration:
    """What is known of a kind: the strength of each level, or the one to evaluate next, or why
    there is none.

    strengths, ratios: for each level, the strength found and FD(main)/FD(base) there; None where
    not (yet) found.
    """

    kind: str
    strengths: tuple[float | None, ...]
    ratios: tuple[float | None, ...]
    next: float | None = None
    reason: str = ""

    @property
    def found(self) -> bool:
        """Whether every level has its strength."""
        return None not in self.strengths

    def name(self, level: int) -> str:
        """The degradation at a level."""
        strength = self.strengths[level]
        assert strength is not None
        return str(kinds()[self.kind](strength))


def calibrate(results: Results, kind: str) -> Calibration:
    """Where the calibration of a kind stands, found by going its way again from the start among the
    evaluations.

    What else is known of the kind, by pairings of their own, changes nothing: a calibration ends
    the same at any time.
    """
    spec, made, known = results.spec.calibrate, kinds()[kind], _known(results, kind)
    seen: dict[float, float] = {}
    found: list[tuple[float | None, float | None]] = []
    proposal, reason = None, ""
    for level in spec.levels:
        while not (close := _close(seen, level, spec.tolerance)):
            proposal, reason = _propose(
                made, dict(sorted(seen.items(), reverse=not made.rises)), level
            )
            if proposal is not None and len(seen) >= spec.trials:
                reason = (
                    f"no strength within {spec.tolerance:g} of {level:g} after {len(seen)} "
                    "evaluations"
                )
                proposal = None
            if proposal not in known:
                break
            seen[proposal] = known[proposal]
        if not close:
            break
        found.append(close)
    found += [(None, None)] * (len(spec.levels) - len(found))
    strengths, ratios = zip(*found, strict=True)
    done = None not in strengths
    return Calibration(
        kind, strengths, ratios, None if done else proposal, "" if done or proposal else reason
    )


def _close(seen: dict[float, float], level: float, tolerance: float) -> tuple[float, float] | None:
    """The strength nearest a level, with its ratio, if that is within the tolerance."""
    distance, strength = min(
        ((abs(ratio / level - 1), s) for s, ratio in seen.items()), default=(math.inf, 0.0)
    )
    return (strength, seen[strength]) if distance <= tolerance else None


def _known(results: Results, kind: str) -> dict[float, float]:
    """FD relative to the base's by strength, of the evaluations of a kind alone on the search's
    seed."""
    base = results.shared[results.single(BASE)].scores.get(results.primary)
    if base is None:
        raise RunError(
            f"the base itself could not be scored: {results.shared[results.single(BASE)].reason}"
        )
    found: dict[float, float] = {}
    for task, evaluation in results.shared.items():
        if task.main.startswith(f"{kind}(") and task == results.single(task.main):
            degradation = parse(task.main)
            if (
                isinstance(degradation, Kind)
                and str(type(degradation)(degradation.strength)) == task.main
            ):
                found[degradation.strength] = (
                    evaluation.scores.get(results.primary, math.inf) / base
                )
    return found


def _propose(kind: type[Kind], known: dict[float, float], level: float) -> tuple[float | None, str]:
    """The next strength to evaluate after those known, weakest first, or None and why.

    Outwards until the level is bracketed, then false position in ln(ratio) over ln(strength) (over
    the bits, where fewer are worse), kept a tenth away from the bracket's ends.
    """
    weakest, strongest = _ends(kind)
    if not known:
        return first_strength(kind), ""
    places = [_place(kind, strength) for strength in known]
    gaps = [math.log(max(ratio, 1e-12) / level) for ratio in known.values()]
    above = next((i for i, gap in enumerate(gaps) if gap > 0), None)
    if above is None:
        if places[-1] >= strongest - 1e-9:
            most, at = max((ratio, strength) for strength, ratio in known.items())
            return None, f"FD reaches {most:.3g} times the base's at most, at {kind.kind}({at:g})"
        return _strength(kind, min(places[-1] + _STRIDE[kind.rises], strongest)), ""
    if above == 0:
        if places[0] <= weakest + 1e-9:
            return (
                None,
                f"the weakest, {kind.kind}({next(iter(known)):g}), does more damage than {level:g} "
                "times already",
            )
        return _strength(kind, max(places[0] - _STRIDE[kind.rises], weakest)), ""
    low, high, gap_low, gap_high = places[above - 1], places[above], gaps[above - 1], gaps[above]
    share = 0.5 if math.isinf(gap_high) else min(max(-gap_low / (gap_high - gap_low), 0.1), 0.9)
    proposal = _strength(kind, low + share * (high - low))
    if proposal in known:
        return None, f"FD jumps past {level:g} times the base's at {kind.kind}({proposal:g})"
    return proposal, ""


def first_strength(kind: type[Kind]) -> float:
    """The strength at which a calibration begins: weak to middling, and within the range of every
    kind."""
    return FIRST if kind.rises else FIRST_BITS


_STRIDE = {True: math.log(2), False: 1.0}  # a factor of 2 in strength, or a bit


def _ends(kind: type[Kind]) -> tuple[float, float]:
    """The places of the weakest and of the strongest strength that is tried."""
    if kind.rises:
        # the end itself, or just before it
        most = kind.most if kind.below > MOST else 0.99 * kind.below
        return math.log(LEAST), math.log(min(most, MOST))
    return -MOST_BITS, -kind.least


def _place(kind: type[Kind], strength: float) -> float:
    return math.log(strength) if kind.rises else -strength


def _strength(kind: type[Kind], place: float) -> float:
    return _rounded(math.exp(place) if kind.rises else -place)


def _rounded(strength: float) -> float:
    return float(f"{strength:.3g}")
