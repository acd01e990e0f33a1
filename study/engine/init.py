"""A first config for a base and data, with comments."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from degradations import InputError
from study.checkpoints import CACHE, Base, load_base
from study.data import Data, load_data
from study.parallel.device import device

RECIPE, EXACT = "recipe", "exact"
SEEN = 4096  # samples from which the standard deviation is computed
MOST = 5000  # samples of an evaluation; published FIDs are of 50,000
MLP_SIDE = 12  # up to this side a residual MLP is enough
INCEPTION_SIDE = 32  # from which FID is usual, of images in colour


@dataclass(frozen=True)
class Question:
    """What a config needs: its option, what is asked, and what is accepted without an answer."""

    option: str
    text: str
    default: str | None = None


QUESTIONS = (
    Question("data", "Data: digits, a folder or zip of images, an NPZ, torchvision:NAME, hub:O/N"),
    Question("base", "Base: recipe (trained on the data), or a name, folder or file", RECIPE),
    Question("name", "Name of the study"),
)


def config_of(name: str, base: str, data: str, root: Path) -> str:
    """The text of a config for a study of a base, compared with data.

    base: `recipe`, trained on the data; a shipped or a published one by its name; a folder or file;
    `exact`. Raises InputError for a base or data that cannot be had, and for those that do not fit.
    """
    found = load_data(data, root / CACHE)
    trained = base == RECIPE
    own = None if trained else load_base(base, data if base == EXACT else None, root)
    if own is not None and own.data.shape != found.shape and not own.latents:
        raise InputError(
            f"study init: the base '{base}' is one of samples {list(own.data.shape)}; the data "
            f"'{data}' are {list(found.shape)}" + _resized(own, found)
        )
    lines = [
        f"# study run {name}.yaml --plan      what it takes, without running anything",
        f"# study run {name}.yaml             the study; interrupted, the same command resumes it",
        f"name: {name}",
    ]
    lines += _recipe(found) if trained else _base(base, own, data)
    lines += _reference(data, found, trained)
    lines += _extractors(found)
    lines += _sampler(own, found)
    lines += _pairings(own, trained)
    lines += _samples(found)
    return "\n".join(lines) + "\n"


def _resized(own: Base, found: Data) -> str:
    shape = own.data.shape
    if len(shape) == len(found.shape) == 3 and shape[0] == found.shape[0] and shape[1] == shape[2]:
        return f"; accepted: such images, as by '@size={shape[1]}' after the name of the data."
    return "; accepted: data of its shape."


def _recipe(data: Data) -> list[str]:
    n = len(data.samples)
    some = data.samples[torch.linspace(0, n - 1, min(n, SEEN)).long()]
    held_out = n >= 1000
    about = f"{n:,} samples {list(data.shape)}"
    about += f", {data.classes} classes" if data.classes else ", without classes"
    lines = [
        "base: null                    # trained by this recipe, once, into mlruns/bases",
        "recipe:",
        f"  data: {_quoted(data.name)}     # {about}",
        f"  sigma_data: {float(some.std()):.3g}            # their standard deviation",
    ]
    if held_out:
        lines.append("  samples: 0.9                # share trained on; the rest is the reference")
    lines += [f"  network: {_network(data)}"]
    lines += [
        f"  steps: {_steps()}                 # more is better, see --plan",
        "  batch: 128",
        "  lr: 0.001",
        "  ema: 0.1                    # width of the average of the weights",
        "  p_mean: -0.9                # ln σ in training: mean and spread",
        "  p_std: 1.3",
    ]
    if data.classes:
        lines.append("  label_dropout: 0.1          # so that it also answers without labels")
    return lines


def _network(data: Data) -> str:
    """The network that suits the samples and this machine."""
    if len(data.shape) != 3 or data.shape[1] != data.shape[2] or data.shape[1] <= MLP_SIDE:
        width = min(512, max(64, 2 ** round(math.log2(math.prod(data.shape)))))
        return f"{{kind: mlp, width: {width}, hidden: {3 * width}, blocks: 6}}"
    side, on_gpu = data.shape[1], device().type != "cpu"
    most = 16 if on_gpu else 8  # patches along a side
    patch = next((p for p in (1, 2, 4, 8, 16) if side % p == 0 and side // p <= most), 1)
    if not on_gpu:
        return (
            "{kind: transformer, width: 96, hidden: 288, blocks: 5, embedding: 64, heads: 4, "
            f"patch: {patch}}}"
        )
    inner = side // patch
    halved = inner % 2 == 0
    return (
        f"{{kind: ddpmpp, width: 128, multipliers: {'[1, 2]' if halved else '[1]'}, blocks: 2, "
        f"patch: {patch}, attention_at: [{inner // 2 if halved else inner}]}}"
    )


def _steps() -> int:
    return 6000 if device().type == "cpu" else 50_000


def _base(base: str, own: Base | None, data: str) -> list[str]:
    assert own is not None
    about = f"samples {list(own.data.shape)}"
    about += f", {own.data.classes} classes" if own.data.classes else ""
    lines = [f"base: {_quoted(base)}     # {'latents' if own.latents else about}"]
    if base == EXACT:
        lines.append(f"recipe: {{data: {_quoted(data)}}}")
    return lines


def _reference(data: str, found: Data, trained: bool) -> list[str]:
    if trained and len(found.samples) >= 1000:
        return ["reference: held-out           # FD to what the base was not trained on"]
    return [f"reference: {_quoted(data)}     # FD to these"]


def _extractors(found: Data) -> list[str]:
    if len(found.shape) == 3 and found.shape[0] == 3 and found.shape[1] >= INCEPTION_SIDE:
        return ["extractors: [inception]       # FID; a file of 0.1 GB, downloaded once"]
    if found.name == "digits":
        return ["extractors: [digits, pixels]  # the first one decides"]
    if len(found.shape) == 3:
        return ["extractors: [random, pixels]  # the first one decides; inception is FID"]
    return ["extractors: [pixels]"]


def _sampler(own: Base | None, found: Data) -> list[str]:
    levels = own.denoiser.levels() if own is not None else None
    high = 80.0 if levels is None else min(80.0, own.sigma_max if own else 80.0, levels.high)
    low = 0.002 if levels is None else max(0.002, levels.low)
    chunk = max(1, min(600, 2**22 // math.prod(found.shape)))
    steps = 12 if _is_slow(found) else 24
    return [
        f"sampler: {{solver: heun, steps: {steps}, sigma_min: {low:.4g}, sigma_max: {high:.4g}, "
        f"chunk: {chunk}}}"
    ]


def _is_slow(found: Data) -> bool:
    """Whether images are more than a laptop samples by thousands."""
    return device().type == "cpu" and len(found.shape) == 3 and found.shape[1] > MLP_SIDE


def _pairings(own: Base | None, trained: bool) -> list[str]:
    has_dropout = trained or own is None or "dropout" in own.denoiser.sites()
    lines = [
        "# Main and guide should do clear damage: about 1.5 and 3 times the FD of the base.",
        "# `study calibrate` finds such strengths, `study list degradations` what there is.",
        "pairings:",
    ]
    if has_dropout:
        lines.append("  - {main: dropout(0.1), guide: dropout(0.2)}")
    lines.append("  - {main: noise(0.2), guide: noise(0.4)}")
    if has_dropout:
        lines.append("  - {main: dropout(0.1), guide: noise(0.4)}     # another kind")
    return lines


def _samples(found: Data) -> list[str]:
    n = 1000 if _is_slow(found) else min(MOST, max(1000, len(found.samples)))
    return [
        f"search: {{samples: {n}, trials: 5}}       # of every guidance weight that is tried",
        f"confirm: {{samples: {n}, seed_sets: 4}}   # of fresh seeds, for the verdict",
    ]


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./][\w./@=:-]*", text) and ": " not in text else f'"{text}"'
