"""Preconditioning: the wrapper that turns a raw network into a denoiser."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from degradations import Denoiser, Draws, InputError, Levels
from degradations.condition import NONE, Condition, condition_of
from degradations.denoiser import column
from study.specs import NetworkSpec

Limit = Callable[[Tensor], Tensor]  # of an estimate D, [B, …]
PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


class Network(nn.Module, ABC):
    """A raw network F(x, c_noise, condition, draws) → [B, …] of the shape of x.

    c_noise: [B] or [1]. Labels are in 0…classes − 1, −1 for none. kind: its name in recipes, if it
    can be trained here, which `of` then builds.
    """

    kind: ClassVar[str | None] = None
    precisions: ClassVar[tuple[torch.dtype, ...]] = (torch.float32,)
    precision: torch.dtype = torch.float32  # of its activations
    crops: int | None = None  # see `Denoiser`
    takes_time: ClassVar[bool] = False  # whether c_noise may be a time of up to 1000 steps

    def __call__(
        self,
        x: Tensor,
        c_noise: Tensor,
        condition: Condition | Tensor | None = None,
        draws: Draws | None = None,
    ) -> Tensor:
        found: Tensor = super().__call__(x, c_noise, condition_of(condition), draws)
        return found

    @classmethod
    def of(cls, spec: NetworkSpec, shape: Sequence[int], classes: int) -> "Network":
        """The untrained network of a recipe, for samples of a shape.

        Raises InputError if the sizes do not fit the shape.
        """
        raise NotImplementedError

    @abstractmethod
    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        raise NotImplementedError

    def use(self, precision: torch.dtype) -> None:
        """Compute in the given precision from now on.

        Parameters are rounded in place, once: call it before the network is cloned; returning to
        fp32 does not restore what a lower precision has rounded away. Raises InputError if the
        network does not support the precision.
        """
        if precision not in self.precisions:
            raise InputError(
                f"precision: found {_short(precision)}; accepted by {type(self).__name__}: "
                f"{' or '.join(map(_short, self.precisions))}."
            )
        self._round(precision)
        self.precision = precision

    def _round(self, precision: torch.dtype) -> None:
        """Round the parameters that are to be used in a precision; nothing if there is only one."""


class Scalings(NamedTuple):
    """The four functions of σ in D = c_skip·x + c_out·F(c_in·x; c_noise), each of σ's shape."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


class Preconditioned(Denoiser, ABC):
    """D(x; σ) = c_skip·x + c_out·F(c_in·x; c_noise), F in its precision, the rest in that of x.

    made_for: the noise levels of its training; None: any. limit: a function applied to the estimate
    before it is returned; None: nothing. name: in recipes, if networks can be trained with it here,
    which `of` then prepares. gives_time: whether c_noise is a time of up to 1000 steps. (Karras et
    al. 2022, eq. 7)
    """

    name: ClassVar[str | None] = None
    gives_time: ClassVar[bool] = False

    def __init__(
        self, network: Network, made_for: Levels | None = None, limit: Limit | None = None
    ) -> None:
        super().__init__()
        self.network, self.made_for, self.limit = network, made_for, limit
        self.crops = network.crops

    @classmethod
    def of(cls, network: Network, sigma_data: float) -> Self:
        """The denoiser of a network that is to be trained on data of a standard deviation."""
        raise NotImplementedError

    @abstractmethod
    def scalings(self, sigma: Tensor) -> Scalings:
        """The scalings at σ, [B or 1, 1, …]."""
        raise NotImplementedError

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        c = self.scalings(column(sigma, x))
        f = self.network(self._lower(c.c_in * x), c.c_noise.flatten(), condition, draws)
        d = c.c_skip * x + c.c_out * f.to(x.dtype)
        return d if self.limit is None else self.limit(d)

    def _lower(self, x: Tensor) -> Tensor:
        """x in the network's precision, if that is lower than x's own."""
        return x if self.network.precision == torch.float32 else x.to(self.network.precision)


class EDM(Preconditioned):
    """c_skip = σd²/(σ² + σd²), c_out = σσd/√(σ² + σd²), c_in = 1/√(σ² + σd²), c_noise = ln(σ)/4.

    σd: standard deviation of the data, in the units of x; sigma_min, sigma_max: range of the noise
    levels that it was made for. Raises InputError if the range is empty. (Karras et al. 2022, table
    1, column EDM)
    """

    name: ClassVar[str | None] = "edm"

    def __init__(
        self,
        network: Network,
        sigma_data: float,
        sigma_min: float = 0.0,
        sigma_max: float = math.inf,
    ) -> None:
        super().__init__(network, Levels(sigma_min, sigma_max))
        self.sigma_data = sigma_data

    @classmethod
    def of(cls, network: Network, sigma_data: float) -> Self:
        return cls(network, sigma_data)

    def scalings(self, sigma: Tensor) -> Scalings:
        sd, total = self.sigma_data, sigma**2 + self.sigma_data**2
        return Scalings(sd**2 / total, sigma * sd / total.sqrt(), 1 / total.sqrt(), sigma.log() / 4)


def networks() -> dict[str, type[Network]]:
    """The networks that can be trained here, by kind."""
    found, left = {}, list(Network.__subclasses__())
    while left:
        each = left.pop()
        left += each.__subclasses__()
        if "kind" in vars(each):
            found[str(each.kind)] = each
    return dict(sorted(found.items()))


def preconditionings() -> dict[str, type[Preconditioned]]:
    """The preconditionings that networks can be trained with here, by name."""
    left, known = list(Preconditioned.__subclasses__()), dict[str | None, type[Preconditioned]]()
    for each in left:
        left += each.__subclasses__()
        if "name" in vars(each):
            known[each.name] = each
    return {name: known[name] for name in sorted(filter(None, known))}


def _short(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")
