"""Sites in the modules of any network: found by type, or by the names that its user gives."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from degradations import InputError, Site
from study.models.diffusers_network import Call

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
DROPOUT_CALLS: tuple[Callable[..., Any], ...] = (
    functional.dropout,
    functional.dropout1d,
    functional.dropout2d,
    functional.dropout3d,
)
RESIDUAL = ("ResBlock", "ResidualBlock", "ResnetBlock", "ResnetBlock2D", "BasicBlock", "DiTBlock")


class Found(TorchFunctionMode):
    """Passes functional dropouts and attention maps of a call through sites."""

    def __init__(self, sites: Mapping[str, Site], call: Call) -> None:
        super().__init__()
        self.sites, self.call = sites, call
        self.seen: set[str] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUT_CALLS:
            self.seen.add("dropout")
            h = args[0] if args else kwargs["input"]
            return self.sites["dropout"](h, self.call.draws) if self._acts("dropout") else h
        if func is functional.scaled_dot_product_attention:
            self.seen.add("attention")
            if self._acts("attention"):
                return self._attend(*args, **kwargs)
        return func(*args, **kwargs)

    def _acts(self, role: str) -> bool:
        return role in self.sites and bool(self.sites[role].actions)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **_: Any,
    ) -> Tensor:
        """softmax(q kᵀ/√d) through the site, times v, as the fused kernels define it."""
        weights = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(weights.shape[-2:], dtype=torch.bool, device=key.device).tril()
        if attn_mask is not None:
            boolean = attn_mask.dtype == torch.bool
            weights = weights.masked_fill(~attn_mask, -math.inf) if boolean else weights + attn_mask
        return self.sites["attention"](weights.softmax(dim=-1), self.call.draws) @ value


def place_sites(
    net: nn.Module, given: Mapping[str, Sequence[str]], call: Call
) -> dict[str, list[str]]:
    """Give the modules of a network their sites; returns their names by role.

    'dropout': dropout layers. 'block' and 'map': modules whose class is named as a residual block
    usually is, or that `given` names, by role, with * for any part of a name. A block's site sees
    what it adds to its input, f(x) − x; a map's, its input [B, C, H, W]. Raises InputError for
    roles that are none of modules, and for names that no module has.
    """
    found: dict[str, list[str]] = {}
    for role in given:
        if role not in ("block", "dropout", "map"):
            raise InputError(
                f"wrap: found sites of the role '{role}'; accepted: block, dropout, map (attention "
                "is found where the network calls scaled_dot_product_attention)."
            )
    for role in ("dropout", "block", "map"):
        named = list(_named(net, role, given) if role in given else _of_type(net, role))
        for _, module in named:
            _through(module, role, call)
        if named:
            found[role] = [name for name, _ in named]
    return found


def _named(
    net: nn.Module, role: str, given: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, nn.Module]]:
    for pattern in given[role]:
        fitting = [(name, m) for name, m in net.named_modules() if name and fnmatch(name, pattern)]
        if not fitting:
            raise InputError(
                f"wrap: no module is named '{pattern}', given for the role '{role}'; accepted: "
                f"{', '.join(name for name, _ in net.named_modules() if name)[:500]}."
            )
        yield from fitting


def _of_type(net: nn.Module, role: str) -> Iterator[tuple[str, nn.Module]]:
    for name, module in net.named_modules():
        is_residual = type(module).__name__ in RESIDUAL
        if name and (isinstance(module, DROPOUTS) if role == "dropout" else is_residual):
            yield name, module


def _through(module: nn.Module, role: str, call: Call) -> None:
    """Give a module a site, and a class of its own, which still is one of its former class."""
    former = type(module)
    site = f"site_{role}"
    module.add_module(site, Site(role))
    module.site_call = call  # type: ignore[assignment]

    def forward(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        own: Site = getattr(self, site)
        if not own.actions or not isinstance(x, Tensor):
            return former.forward(self, x, *args, **kwargs)
        draws = self.site_call.draws
        if role == "dropout":
            return own(x, draws)
        if role == "map":
            return former.forward(self, own(x, draws) if x.ndim == 4 else x, *args, **kwargs)
        out = former.forward(self, x, *args, **kwargs)
        if not isinstance(out, Tensor) or out.shape != x.shape:  # no sum with its input
            return own(out, draws) if isinstance(out, Tensor) else out
        return x + own(out - x, draws)

    module.__class__ = type(former.__name__, (former,), {"forward": forward})
