"""The strength at which a kind of degradation does a given damage, by root finding."""

import math
from dataclasses import dataclass, replace

from degradations import Kind, family
from study.records import damage
from study.records.results import Results

FIRST, FIRST_BITS = 0.1, 6.0  # the first strength of a search
LEAST, MOST, MOST_BITS = 1e-4, 100.0, 16.0  # limits of the search where the kind has none


@dataclass(frozen=True)
class Calibration:
    """The state of a kind's calibration: strengths found, the next to evaluate, or why none is.

    strengths, ratios, errors: for each level, the strength found, the damage there and its standard
    error over samples; None where not (yet) found, or not known.
    """

    kind: str
    strengths: tuple[float | None, ...]
    ratios: tuple[float | None, ...]
    errors: tuple[float | None, ...]
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
        return named(self.kind, strength)


def named(kind: str, strength: float) -> str:
    """The name of the degradation of a kind, which may have options, at a strength."""
    return str(replace(family(kind), strength=strength))


def calibrate(results: Results, kind: str) -> Calibration:
    """The state of a kind's calibration, found by replaying it from the start on the evaluations.

    Evaluations of the kind that were made for other purposes are used only where the replay asks
    for them, so the result does not depend on when it is computed. Raises RunError if the base's
    damage, of which others are multiples, could not be measured.
    """
    spec, made = results.spec.calibrate, family(kind)
    damage.require_base(results)
    seen: dict[float, float] = {}
    errors: dict[float, float | None] = {}
    found: list[float | None] = []
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
            if proposal is None:
                break
            known = damage.damage(results, named(kind, proposal))
            if known is None:
                break
            seen[proposal], errors[proposal] = known
        if not close:
            break
        found.append(close[0])
    strengths = (*found, *[None] * (len(spec.levels) - len(found)))
    done = None not in strengths
    return Calibration(
        kind,
        strengths,
        tuple(None if each is None else seen[each] for each in strengths),
        tuple(None if each is None else errors[each] for each in strengths),
        None if done else proposal,
        "" if done or proposal else reason,
    )


def _close(seen: dict[float, float], level: float, tolerance: float) -> tuple[float, float] | None:
    """The strength nearest a level, with its ratio, if that is within the tolerance."""
    distance, strength = min(
        ((abs(ratio / level - 1), s) for s, ratio in seen.items()), default=(math.inf, 0.0)
    )
    return (strength, seen[strength]) if distance <= tolerance else None


def _propose(kind: Kind, known: dict[float, float], level: float) -> tuple[float | None, str]:
    """The next strength to evaluate, or None and the reason; known: ratios, weakest strength first.

    The search moves outwards until the level is bracketed, then uses false position in ln(ratio)
    over ln(strength) (over the bits, where fewer are worse), at least a tenth of the bracket away
    from its ends.
    """
    weakest, strongest = _ends(kind)
    if not known:
        return first_strength(kind), ""
    places = [_place(kind, strength) for strength in known]
    gaps = [math.log(max(ratio, 1e-12) / level) for ratio in known.values()]
    above = next((i for i, gap in enumerate(gaps) if gap > 0), None)

    def at(strength: float) -> str:
        return str(replace(kind, strength=strength))

    if above is None:
        if places[-1] >= strongest - 1e-9:
            most, strength = max((ratio, strength) for strength, ratio in known.items())
            return None, f"the damage reaches at most {most:.3g}, at {at(strength)}"
        return _strength(kind, min(places[-1] + _STRIDE[kind.rises], strongest)), ""
    if above == 0:
        if places[0] <= weakest + 1e-9:
            first = at(next(iter(known)))
            return None, f"even the weakest, {first}, does more damage than {level:g}"
        return _strength(kind, max(places[0] - _STRIDE[kind.rises], weakest)), ""
    low, high, gap_low, gap_high = places[above - 1], places[above], gaps[above - 1], gaps[above]
    share = 0.5 if math.isinf(gap_high) else min(max(-gap_low / (gap_high - gap_low), 0.1), 0.9)
    proposal = _strength(kind, low + share * (high - low))
    if proposal in known:
        return None, f"the damage jumps past {level:g} at {at(proposal)}"
    return proposal, ""


def first_strength(kind: Kind) -> float:
    """The first strength of a calibration: weak to moderate, within the range of every kind."""
    return FIRST if kind.rises else FIRST_BITS


_STRIDE = {True: math.log(2), False: 1.0}  # a factor of 2 in strength, or a bit


def _ends(kind: Kind) -> tuple[float, float]:
    """The places (`_place`) of the weakest and of the strongest strength that is tried."""
    if kind.rises:
        # the end itself, or just before it
        most = kind.most if kind.below > MOST else 0.99 * kind.below
        return math.log(LEAST), math.log(min(most, MOST))
    return -MOST_BITS, -kind.least


def _place(kind: Kind, strength: float) -> float:
    """A strength on the search's scale, on which damage rises: its logarithm, or minus bits."""
    return math.log(strength) if kind.rises else -strength


def _strength(kind: Kind, place: float) -> float:
    return _rounded(math.exp(place) if kind.rises else -place)


def _rounded(strength: float) -> float:
    return float(f"{strength:.3g}")
