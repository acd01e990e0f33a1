"""Denoisers by the class name and arguments of a published pickle, which are not trusted."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch

from degradations import InputError
from study.models.dhariwal import DhariwalUNet
from study.models.edm2 import EDM2UNet
from study.models.edm_preconditioning import IDDPM, VE, VP
from study.models.preconditioning import EDM, Network, Preconditioned
from study.models.songunet import SongUNet

MOST_PARAMETERS, MOST_ENTRIES = 4 * 10**9, 16  # of a network, of a list

Check = Callable[[Any], str | None]  # returns what is accepted if a value is not, else None


def network_of_class(
    class_name: str, arguments: Mapping[str, Any], empty: bool = False
) -> Preconditioned:
    """The denoiser of a class of EDM or EDM2 by its published constructor arguments, in fp32.

    Its weights are random. empty: the network is on the meta device, without memory, so that its
    size can be compared with a file.

    `dropout` and `label_dropout` act in training only, and `use_fp16` is left to the caller
    (`Network.use`): they are only checked. Raises InputError if the class is unknown, if arguments
    are unknown, missing, of another type or out of range, or if the network has more than 4·10⁹
    parameters, before it takes memory. (Karras et al. 2022, tables 1 and 7)
    """
    if class_name not in _PRECONDITIONINGS:
        raise InputError(
            f"published network: found class {_shown(class_name)}; accepted: "
            f"{', '.join(_PRECONDITIONINGS)}."
        )
    kind = _PRECONDITIONINGS[class_name]
    model = arguments.get("model_type", kind.network)
    # otherwise the check of model_type raises
    of_network = _NETWORKS[model] if model in tuple(_NETWORKS) else {}
    check(
        class_name,
        arguments,
        {**_COMMON, **kind.checks, **of_network},
        ("img_resolution", "img_channels"),
    )

    def network() -> Network:
        return _network(model, dict(arguments), twice=class_name == "iDDPMPrecond")

    with torch.device("meta"):
        skeleton = network()
    count = sum(parameter.numel() for parameter in skeleton.parameters())
    if count > MOST_PARAMETERS:
        raise InputError(
            f"{class_name}: its arguments request a network of {count} parameters; accepted: "
            f"at most {MOST_PARAMETERS}."
        )
    given = {ours: arguments[name] for name, ours in kind.names.items() if name in arguments}
    return kind.make(skeleton if empty else network(), **given)


def check(
    class_name: str,
    arguments: Mapping[str, Any],
    checks: Mapping[str, Check],
    required: tuple[str, ...],
) -> None:
    """Raises InputError for the first argument that is unknown, missing or not accepted."""
    for name, value in arguments.items():
        if name not in checks:
            raise InputError(
                f"{class_name}: argument {_shown(name)} is unknown; accepted: {', '.join(checks)}."
            )
        if (accepted := checks[name](value)) is not None:
            raise InputError(
                f"{class_name}: argument '{name}' is {_shown(value)}; accepted: {accepted}."
            )
    for name in required:
        if name not in arguments:
            raise InputError(f"{class_name}: argument '{name}' is missing.")


def integer(least: int, most: int) -> Check:
    """Accepts an integer in a range."""

    def wanted(value: Any) -> str | None:
        good = type(value) is int and least <= value <= most
        return None if good else f"an integer from {least} to {most}"

    return wanted


def number(least: float, most: float) -> Check:
    """Accepts an integer or a float in a range, not nan."""

    def wanted(value: Any) -> str | None:
        good = type(value) in (int, float) and least <= value <= most
        return None if good else f"a number from {least:g} to {most:g}"

    return wanted


def or_none(each: Check) -> Check:
    """Accepts None, or what another check accepts."""

    def wanted(value: Any) -> str | None:
        found = None if value is None else each(value)
        return None if found is None else f"none, or {found}"

    return wanted


def one_of(*accepted: Any) -> Check:
    """Accepts one of some values, of the same type: 1 is not True."""

    def wanted(value: Any) -> str | None:
        good = any(type(value) is type(each) and value == each for each in accepted)
        return None if good else "one of " + ", ".join(repr(each) for each in accepted)

    return wanted


def entries(each: Check, least: int = 0) -> Check:
    """Accepts a list or tuple of at most 16 values, each accepted by a check."""

    def wanted(value: Any) -> str | None:
        good = type(value) in (list, tuple) and least <= len(value) <= MOST_ENTRIES
        bad = next(filter(None, map(each, value)), None) if good else None
        return (
            None
            if good and bad is None
            else f"a list of {least} to {MOST_ENTRIES} entries, each {each(None)}"
        )

    return wanted


def _taps(value: Any) -> str | None:
    if (wanted := entries(number(-1e3, 1e3), least=2)(value)) is not None:
        return wanted
    return (
        None
        if len(value) % 2 == 0 and abs(sum(value)) > 1e-3
        else "an even number of taps whose sum is not zero"
    )


_COMMON: Mapping[str, Check] = {
    "img_resolution": integer(1, 1024),
    "img_channels": integer(1, 64),
    "label_dim": integer(0, 100_000),
    "use_fp16": one_of(True, False),
    "model_type": one_of("SongUNet", "DhariwalUNet"),
}


class _Kind(NamedTuple):
    """A preconditioning: constructor, default network, argument checks, and our argument names."""

    make: Callable[..., Preconditioned]
    network: str
    checks: Mapping[str, Check]
    names: Mapping[str, str]


_RANGE: Mapping[str, Check] = {"sigma_min": number(0, 1e6), "sigma_max": number(0, math.inf)}
_VP: Mapping[str, Check] = {
    "beta_d": number(1e-6, 1e6),
    "beta_min": number(0, 1e6),
    "M": integer(2, 100_000),
    "epsilon_t": number(0, 1),
}
_IDDPM: Mapping[str, Check] = {
    "C_1": number(1e-6, 1),
    "C_2": number(0, 1),
    "M": integer(2, 100_000),
}
_PRECONDITIONINGS: Mapping[str, _Kind] = {
    "EDMPrecond": _Kind(
        partial(EDM, sigma_data=0.5),
        "DhariwalUNet",
        {**_RANGE, "sigma_data": number(1e-6, 1e6)},
        {name: name for name in (*_RANGE, "sigma_data")},
    ),
    "VPPrecond": _Kind(
        VP,
        "SongUNet",
        _VP,
        {"beta_d": "beta_d", "beta_min": "beta_min", "M": "steps", "epsilon_t": "epsilon_t"},
    ),
    "VEPrecond": _Kind(VE, "SongUNet", _RANGE, {name: name for name in _RANGE}),
    "Precond": _Kind(
        partial(EDM, sigma_data=0.5),
        "EDM2UNet",
        {
            "sigma_data": number(1e-6, 1e6),
            "logvar_channels": integer(1, 65536),
            "model_type": one_of(),
        },
        {"sigma_data": "sigma_data"},
    ),
    "iDDPMPrecond": _Kind(IDDPM, "DhariwalUNet", _IDDPM, {"C_1": "c1", "C_2": "c2", "M": "steps"}),
}
_UNET: Mapping[str, Check] = {
    "augment_dim": integer(0, 1000),
    "model_channels": integer(4, 2048),
    "channel_mult": entries(integer(1, 64), least=1),
    "channel_mult_emb": integer(1, 64),
    "num_blocks": integer(1, 32),
    "attn_resolutions": entries(integer(1, 1024)),
    "dropout": number(0, 1),
    "label_dropout": number(0, 1),
}
_NETWORKS: Mapping[str, Mapping[str, Check]] = {
    "SongUNet": {
        **_UNET,
        "embedding_type": one_of("positional", "fourier"),
        "channel_mult_noise": integer(1, 64),
        "encoder_type": one_of("standard", "skip", "residual"),
        "decoder_type": one_of("standard", "skip"),
        "resample_filter": _taps,
    },
    "DhariwalUNet": _UNET,
    "EDM2UNet": {
        **{
            name: accepted
            for name, accepted in _UNET.items()
            if name not in ("augment_dim", "label_dropout")
        },
        "channel_mult_noise": or_none(integer(1, 64)),
        "channel_mult_emb": or_none(integer(1, 64)),
        "label_balance": number(0, 1),
        "concat_balance": number(0, 1),
        "res_balance": number(0, 1),
        "attn_balance": number(0, 1),
        "channels_per_head": integer(1, 2048),
        "clip_act": or_none(number(0, 1e6)),
        "resample_filter": one_of([1, 1], (1, 1)),
    },
}
# The published names of network arguments, and ours.
_NAMES: Mapping[str, str] = {
    "augment_dim": "augmentations",
    "model_channels": "width",
    "channel_mult": "multipliers",
    "channel_mult_emb": "embedding_multiplier",
    "num_blocks": "blocks",
    "attn_resolutions": "attention_at",
    "embedding_type": "embedding",
    "channel_mult_noise": "noise_multiplier",
    "encoder_type": "encoder",
    "decoder_type": "decoder",
    "resample_filter": "taps",
    "label_balance": "label_balance",
    "concat_balance": "concat_balance",
    "res_balance": "residual_balance",
    "attn_balance": "attention_balance",
    "channels_per_head": "head_width",
    "clip_act": "clip",
}


def _network(model: str, arguments: Mapping[str, Any], twice: bool) -> Network:
    """A network by checked arguments.

    twice: with an output that has as many channels for variances as for means.
    """
    options = {_NAMES[name]: value for name, value in arguments.items() if name in _NAMES}
    resolution, channels, classes = (
        arguments["img_resolution"],
        arguments["img_channels"],
        arguments.get("label_dim", 0),
    )
    if model == "EDM2UNet":
        options.pop("taps", None)  # it has one kind only
        return EDM2UNet(resolution, channels, classes, **options)
    out_channels = channels * (2 if twice else 1)
    make = {"SongUNet": SongUNet, "DhariwalUNet": DhariwalUNet}[model]
    return make(resolution, channels, classes, out_channels, **options)


def _shown(value: Any) -> str:
    """A value of a file as a message may show it: short, and of plain types only.

    Objects of other types could print anything.
    """
    plain = (bool, int, float, str, type(None))
    listed = value if type(value) in (list, tuple) and len(value) <= MOST_ENTRIES else [value]
    try:
        return (
            repr(value)[:80]
            if all(type(each) in plain for each in listed)
            else f"a {type(value).__name__[:40]}"
        )
    except ValueError:  # of an integer of thousands of digits
        return "an integer of thousands of digits"
