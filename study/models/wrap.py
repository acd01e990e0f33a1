"""Any PyTorch network as a denoiser in σ."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, InputError, LabelSite, Site
from study.models.diffusers_network import Call
from study.models.diffusers_schedule import DiscreteSchedule, betas_of
from study.models.preconditioning import EDM, Network, Preconditioned, Scalings
from study.models.predictions import Epsilon, Sample, Velocity
from study.models.wrapped_sites import Found, place_sites

Caller = Callable[[nn.Module, Tensor, Tensor, Tensor | None], Tensor]
PREDICTS = ("epsilon", "x0", "v", "edm", "denoised")
# the schedules of DDPM, of latent diffusion and of the improved DDPM: names in diffusers, ends of β
BETAS: Mapping[str, tuple[str, float, float]] = {
    "linear": ("linear", 1e-4, 0.02),
    "scaled_linear": ("scaled_linear", 0.00085, 0.012),
    "cosine": ("squaredcos_cap_v2", 0.0, 0.0),
}
STEPS = 1000
TIMES, SIGMAS = tuple(BETAS), ("sigma", "log-sigma")


def wrap(
    net: nn.Module,
    predicts: str = "epsilon",
    schedule: str | Sequence[float] | Tensor | None = None,
    *,
    shape: Sequence[int] | None = None,
    classes: int = 0,
    sigma_data: float = 0.5,
    sites: Mapping[str, Sequence[str]] | None = None,
    call: Caller | None = None,
) -> Preconditioned:
    """A network of one's own as a denoiser in σ, with sites for degradations; `net` is not changed.

    predicts: `epsilon`, the noise; `x0`, the clean sample; `v` = √ᾱ·n − √(1 − ᾱ)·y; these are given
    x/√(1 + σ²) = √ᾱ·y + √(1 − ᾱ)·n. `edm`, F of EDM's preconditioning with sigma_data. `denoised`,
    D itself, given x. schedule: what the network is given as its time: t = 0…T − 1 of a schedule of
    DDPM with T = 1000, `linear`, `scaled_linear` or `cosine`, or of ᾱ_t, [T], falling; `sigma`, the
    noise level; or `log-sigma`, ln(σ)/4. None: `log-sigma` of edm and denoised, else `linear`.

    It is called as net(x, t) or, with classes, net(x, t, labels): t, [B]; labels, [B], in 0…classes
    − 1, and `classes` for none. call: called as call(net, x, t, labels) instead, where its
    arguments or its number for no label are others. Its sites: 'dropout', its dropout layers;
    'block' and 'map', modules whose class has the name of a residual block; or those that `sites`
    names by role, such as {"block": ["blocks.*"]}; 'label', if there are classes. shape: of a
    sample; if given, the network is tried, and functional dropouts and calls of
    scaled_dot_product_attention are sites too. `denoiser.network.found` lists what was found.

    Raises InputError for unknown names, for modules that are not there, and for a network whose
    output has another shape than its input. (Karras et al. 2022, eq. 7; Ho et al. 2020; Salimans &
    Ho 2022)
    """
    if predicts not in PREDICTS:
        raise InputError(f"wrap: found predicts '{predicts}'; accepted: {', '.join(PREDICTS)}.")
    if schedule is None:
        schedule = "log-sigma" if predicts in ("edm", "denoised") else "linear"
    accepted = {"edm": ["log-sigma"], "denoised": [*SIGMAS]}.get(predicts, [*TIMES, *SIGMAS])
    if isinstance(schedule, str) and schedule not in accepted:
        more = "" if predicts in ("edm", "denoised") else ", or ᾱ_t as a list"
        raise InputError(
            f"wrap: found schedule '{schedule}' with {predicts}; accepted: "
            f"{', '.join(accepted)}{more}."
        )
    network = WrappedNetwork(net, classes, sites or {}, call)
    if not isinstance(schedule, str) and predicts in ("edm", "denoised"):
        raise InputError(f"wrap: found ᾱ_t with {predicts}; accepted: {', '.join(accepted)}.")
    if not isinstance(schedule, str) or schedule in TIMES:
        prediction = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}[predicts]
        denoiser: Preconditioned = DiscreteSchedule(network, _levels(schedule), prediction)
    elif predicts == "edm":
        denoiser = EDM(network, sigma_data)
    elif predicts == "denoised":
        denoiser = _Denoised(network)
    else:
        denoiser = _PREDICTIONS[predicts](network)
    network.gives_sigma = isinstance(schedule, str) and schedule == "sigma"
    if shape is not None:
        denoiser.eval().requires_grad_(False)
        network.look(denoiser, shape)
    return denoiser.eval().requires_grad_(False)


class WrappedNetwork(Network):
    """A network of one's own; found: the names of the modules that have a site, by its role."""

    def __init__(
        self, net: nn.Module, classes: int, sites: Mapping[str, Sequence[str]], call: Caller | None
    ) -> None:
        super().__init__()
        shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
        self.call, self.classes, self.caller = Call(), classes, call or _call
        self.net = copy.deepcopy(net, shared)  # its modules, with the same weights
        self.found = place_sites(self.net, sites, self.call)
        self.calls = nn.ModuleDict()  # sites of calls of functions
        self.label = LabelSite(classes) if classes else None
        self.gives_sigma = False

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        time = (4 * c_noise).exp() if self.gives_sigma else c_noise
        label = None if self.label is None else self.label(condition.labels(x), draws)
        given = None if label is None else label.masked_fill(label < 0, self.classes)
        sites = {role: site for role, site in self.calls.items() if isinstance(site, Site)}
        with self.call.of(draws, label):
            if not any(site.actions for site in sites.values()):
                return self._called(x, time, given)
            with Found(sites, self.call):
                return self._called(x, time, given)

    def _called(self, x: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        found = self.caller(self.net, x, time.expand(len(x)), label)
        if not isinstance(found, Tensor) or found.shape != x.shape:
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"{type(self.net).__name__}: found an output of shape {shape} for samples "
                f"{list(x.shape)}; accepted: that of the samples (wrap's `call` may choose it)."
            )
        return found

    def look(self, denoiser: Preconditioned, shape: Sequence[int]) -> None:
        """Try the network on a sample of a shape, and give its calls of functions their sites."""
        where = next(iter(self.parameters()), torch.empty(0)).device
        x = torch.zeros(1, *shape, device=where)
        with torch.no_grad(), Found({}, self.call) as mode:
            try:
                denoiser(x, 1.0)
            except InputError:
                raise
            except Exception as error:  # whatever a network of one's own may raise
                raise InputError(
                    f"{type(self.net).__name__}: cannot be called with samples {list(x.shape)} "
                    f"({type(error).__name__}: {str(error)[:200]})."
                ) from error
        for role in sorted(mode.seen):
            if role not in self.found and role not in self.calls:
                self.calls[role] = Site(role)
                self.found[role] = ["calls of functions"]


class _Denoised(Preconditioned):
    """D = F(x; ln(σ)/4)."""

    def scalings(self, sigma: Tensor) -> Scalings:
        one = torch.ones_like(sigma)
        return Scalings(torch.zeros_like(sigma), one, one, sigma.log() / 4)


_PREDICTIONS: Mapping[str, Callable[[Network], Preconditioned]] = {
    "epsilon": Epsilon,
    "x0": Sample,
    "v": Velocity,
}


def _call(net: nn.Module, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
    return net(x, t) if label is None else net(x, t, label)


def _levels(schedule: str | Sequence[float] | Tensor) -> Tensor:
    """σ_t = √((1 − ᾱ_t)/ᾱ_t), [T], rising, float64."""
    if isinstance(schedule, str):
        kind, start, end = BETAS[schedule]
        remaining = (1 - betas_of(kind, STEPS, start, end)).log().cumsum(0).exp()
    else:
        remaining = torch.as_tensor(schedule, dtype=torch.float64).detach().cpu()
        good: Any = remaining.ndim == 1 and len(remaining) > 1
        good = good and bool((remaining > 0).all() and (remaining < 1).all())
        if not good or not bool((remaining.diff() < 0).all()):
            raise InputError(
                "wrap: the schedule's ᾱ_t are not valid; accepted: two or more between 0 and 1, "
                "falling."
            )
    return ((1 - remaining) / remaining).sqrt()
