"""The search space of a pairing: its weight, and what is searched with it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from degradations import Composition, InputError, Interval, Kind, Mixture, parse, parse_rule
from degradations.named import Named
from study.records.task import BASE, Task
from study.specs import PairingSpec, SearchSpec

Values = Mapping[str, float | str]
WIDE = 10  # a range whose ends are above 0 and differ by this factor is searched in logarithms


class Dimension(ABC):
    """What is searched besides the weight: its parameters in Optuna, and those of a task."""

    @abstractmethod
    def distributions(self) -> dict[str, BaseDistribution]:
        raise NotImplementedError

    @abstractmethod
    def values(self, task: Task) -> Values:
        """The parameters of a guided task, by name."""
        raise NotImplementedError

    @abstractmethod
    def put(self, task: Task, values: Values) -> Task:
        """The task with these parameters."""
        raise NotImplementedError


@dataclass(frozen=True)
class Guides(Dimension):
    """The guide, one of several (`search.guides`)."""

    choices: tuple[str, ...]

    def distributions(self) -> dict[str, BaseDistribution]:
        return {"guide": CategoricalDistribution(self.choices)}

    def values(self, task: Task) -> Values:
        return {"guide": task.guide}

    def put(self, task: Task, values: Values) -> Task:
        return replace(task, guide=str(values["guide"]))


@dataclass(frozen=True)
class Ends(Dimension):
    """The ends of a guidance interval, in any order (`search.interval`)."""

    range: tuple[float, float]

    def distributions(self) -> dict[str, BaseDistribution]:
        return {name: FloatDistribution(*self.range, log=True) for name in ("sigma_a", "sigma_b")}

    def values(self, task: Task) -> Values:
        within = [each for each in parse_rule(task.rule).parts if isinstance(each, Interval)]
        low, high = (within[0].low, within[0].high) if within else self.range
        return {"sigma_a": low, "sigma_b": high}

    def put(self, task: Task, values: Values) -> Task:
        ends = sorted(_rounded(values[name]) for name in ("sigma_a", "sigma_b"))
        return replace(task, rule=str(Interval(*ends)))


@dataclass(frozen=True)
class Number(Dimension):
    """A number of the rule or of the guide, by where it stands (`search.over`, `search.strength`).

    name: `rule.apg.eta`, `guide.dropout.strength`, or with the place in a list,
    `rule.fdg.shares.0`. is_whole: whether it is a whole number.
    """

    name: str
    range: tuple[float, float]
    is_whole: bool = False

    def distributions(self) -> dict[str, BaseDistribution]:
        low, high = self.range
        is_log = low > 0 and high >= WIDE * low
        if self.is_whole:
            return {self.name: IntDistribution(math.ceil(low), math.floor(high), log=is_log)}
        return {self.name: FloatDistribution(low, high, log=is_log)}

    def values(self, task: Task) -> Values:
        part, field, entry = self._found(_parts(self._of_rule, task))
        value = getattr(part, field)
        return {self.name: value if entry is None else value[entry]}

    def put(self, task: Task, values: Values) -> Task:
        parts = _parts(self._of_rule, task)
        part: Any
        part, field, entry = self._found(parts)
        value = _rounded(values[self.name])
        before = getattr(part, field)
        now = value if entry is None else (*before[:entry], value, *before[entry + 1 :])
        made = replace(part, **{field: now})
        changed = [made if each is part else each for each in parts]
        name = "+".join(map(str, changed))
        return replace(task, rule=name) if self._of_rule else replace(task, guide=name)

    def of(self, pairing: PairingSpec) -> "Number | None":
        """This number as a pairing has it; None if the pairing does not."""
        try:
            part, field, entry = self._found(_parts(self._of_rule, pairing))
        except (LookupError, ValueError, TypeError):
            return None
        value = getattr(part, field) if entry is None else getattr(part, field)[entry]
        if not isinstance(value, int | float):
            return None
        options = part.options() if isinstance(part, Named) else {}
        return replace(self, is_whole=isinstance(options.get(field), int))

    @property
    def _of_rule(self) -> bool:
        return self.name.startswith("rule.")

    def _found(self, parts: Sequence[Named | Mixture]) -> tuple[Named | Mixture, str, int | None]:
        """The part, its field and the place in it. Raises LookupError if there is none."""
        _, kind, field, *place = self.name.split(".")
        part = next((each for each in parts if each.kind == kind), None)
        if part is None or not hasattr(part, field):
            raise LookupError
        if not place:
            return part, field, None
        getattr(part, field)[int(place[0])]
        return part, field, int(place[0])


def dimensions(search: SearchSpec, pairing: PairingSpec) -> list[Dimension]:
    """What is searched of a pairing besides the weight."""
    found: list[Dimension] = []
    if search.interval:
        found.append(Ends(search.interval))
    if search.guides:
        found.append(Guides(tuple(dict.fromkeys([pairing.guide, *search.guides]))))
    over = dict(search.over)
    if search.strength:
        over |= {f"guide.{part.kind}.strength": search.strength for part in _parts(False, pairing)}
    numbers = (Number(name, ends).of(pairing) for name, ends in over.items())
    return [*found, *filter(None, numbers)]


def distributions(search: SearchSpec, pairing: PairingSpec) -> dict[str, BaseDistribution]:
    """The search space of a pairing, by parameter."""
    weight = FloatDistribution(search.weight[0], search.weights[-1], step=search.step)
    found: dict[str, BaseDistribution] = {"weight": weight}
    for dimension in dimensions(search, pairing):
        found |= dimension.distributions()
    return found


def parameters(search: SearchSpec, pairing: PairingSpec, task: Task) -> dict[str, float | str]:
    """The parameters of a task, the inverse of `with_parameters`.

    Those of weight 1, which has no guide, are the pairing's own and the widest interval.
    """
    found: dict[str, float | str] = {"weight": task.weight}
    if task.weight == 1:
        task = replace(task, guide=pairing.guide, rule=pairing.rule)
    for dimension in dimensions(search, pairing):
        found |= dimension.values(task)
    return found


def with_parameters(search: SearchSpec, pairing: PairingSpec, task: Task, values: Values) -> Task:
    """A guided task of a pairing with other parameters, to four digits."""
    for dimension in dimensions(search, pairing):
        if dimension.distributions().keys() <= values.keys():
            task = dimension.put(task, values)
    return task


def check_over(search: SearchSpec, pairings: Sequence[PairingSpec]) -> None:
    """Raises InputError for numbers that no pairing has, and for ranges that do not suit them.

    A range must contain the pairing's own number, and all its ends together must be accepted.
    """
    for name, ends in search.over.items():
        key, where = f"search.over.{name}", name.split(".")
        if where[0] not in ("rule", "guide") or not 3 <= len(where) <= 4:
            raise InputError(
                f"{key}: accepted: rule.KIND.NUMBER or guide.KIND.NUMBER, such as rule.apg.eta."
            )
        found = [pairing for pairing in pairings if Number(name, ends).of(pairing)]
        if not found:
            raise InputError(f"{key}: no pairing has this number; accepted: {_all(pairings)}.")
        for pairing in found:
            own = float(parameters(search, pairing, _first(pairing))[name])
            if not ends[0] <= own <= ends[1]:
                raise InputError(
                    f"{key}: found {ends[0]:g} to {ends[1]:g}; accepted: a range with {own:g}, the "
                    f"number in '{pairing.name}'."
                )
    for pairing in pairings:
        numbers = [each for each in dimensions(search, pairing) if isinstance(each, Number)]
        for corner in product(*(each.range for each in numbers)):
            values = {each.name: value for each, value in zip(numbers, corner, strict=True)}
            try:
                with_parameters(search, pairing, _first(pairing), values)
            except InputError as error:
                raise InputError(f"search.over: {error}") from None


def _first(pairing: PairingSpec) -> Task:
    """A guided task with the pairing's own numbers."""
    return Task.guided(pairing, 0.0, 0, 2, 2)


def _parts(of_rule: bool, named: Task | PairingSpec) -> "list[Named | Mixture]":
    """The parts of a rule or of a guide that is made of kinds, or of several guides."""
    if of_rule:
        return list(parse_rule(named.rule).parts)
    if "@" in named.guide or named.guide == BASE:
        return []
    guide = parse(named.guide)
    if isinstance(guide, Mixture):
        return [guide]
    parts = guide.parts if isinstance(guide, Composition) else (guide,)
    return [part for part in parts if isinstance(part, Kind)]


def _all(pairings: Sequence[PairingSpec]) -> str:
    """The numbers that can be searched, in words."""
    found = dict.fromkeys(
        f"{where}.{part.kind}.{field.name}"
        for pairing in pairings
        for where in ("rule", "guide")
        for part in _parts(where == "rule", pairing)
        for field in fields(part)
        if field.name != "parts"
    )
    return ", ".join(found) or "a rule or a guide with numbers"


def _rounded(value: float | str) -> float:
    return float(f"{float(value):.4g}")
