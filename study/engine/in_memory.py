"""A denoiser in memory as the base of a study."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degradations import Denoiser, InputError
from study.checkpoints import CACHE, Base
from study.data import Data, is_data, load_data
from study.specs import HELD_OUT, StudySpec

IN_MEMORY = "in-memory"  # the name of data given as a tensor


def base_in_memory(denoiser: Denoiser, data: Any, spec: StudySpec, root: Path) -> Base:
    """The base of a denoiser and its data.

    data: a data set, a name, samples, samples and labels, or None for the spec's reference. Raises
    InputError if there are no data, and for a denoiser whose output has another shape than they.
    """
    if not isinstance(denoiser, Denoiser):
        raise InputError(
            f"study.run: found a base of type {type(denoiser).__name__}; accepted: a Denoiser, "
            "such as study.models.wrap makes of a network."
        )
    found = _data(data, spec, root)
    _check_output(denoiser, found)
    network = getattr(getattr(denoiser, "network", denoiser), "net", denoiser)
    return Base(type(network).__name__, denoiser, found, _sha256(denoiser))


def spec_in_memory(spec: StudySpec, base: Base) -> StudySpec:
    """The spec of a study of a base in memory: compared with its data, unless with files."""
    if spec.reference == HELD_OUT:
        raise InputError(
            "reference: found held-out with a base in memory, of which it is not known what it was "
            "trained on; accepted: data that it was not trained on, as study.run's data."
        )
    reference = base.data.name if is_data(spec.reference) else spec.reference
    return replace(spec, base=base.name, bases=(), reference=reference)


def _data(data: Any, spec: StudySpec, root: Path) -> Data:
    if data is None:
        if not is_data(spec.reference):
            raise InputError(
                f"study.run: found no data, and the reference '{spec.reference}'; accepted: data, "
                "such as samples [N, …]."
            )
        data = spec.reference
    if isinstance(data, str | Path):
        return load_data(str(data), root / CACHE)
    if isinstance(data, Data):
        return data
    samples, labels = data if isinstance(data, tuple | list) and len(data) == 2 else (data, None)
    good = isinstance(samples, Tensor) and samples.ndim >= 2 and samples.is_floating_point()
    if not good or not bool(samples.isfinite().all()):
        raise InputError(
            "study.run: data: accepted: a data set, a name, finite floats [N, …], or those and "
            "their labels [N]."
        )
    if labels is None:
        return Data(IN_MEMORY, samples.float())
    known = isinstance(labels, Tensor) and labels.shape == samples.shape[:1]
    if not known or labels.is_floating_point() or int(labels.min()) < 0:
        raise InputError(
            f"study.run: data: accepted as labels of {len(samples)} samples: integers of at least "
            f"0, [{len(samples)}]."
        )
    return Data(IN_MEMORY, samples.float(), labels.long(), int(labels.max()) + 1)


@torch.inference_mode()
def _check_output(denoiser: Denoiser, data: Data) -> None:
    x = data.samples[:2]
    label = None if data.labels is None else data.labels[:2]
    where = next((parameter.device for parameter in denoiser.parameters()), x.device)
    try:
        found = denoiser(x.to(where), 1.0, label if label is None else label.to(where))
    except InputError:
        raise
    except Exception as error:  # whatever a network of one's own may raise
        raise InputError(
            f"study.run: the base cannot be evaluated on samples {list(x.shape)} "
            f"({type(error).__name__}: {str(error)[:200]})."
        ) from error
    if found.shape != x.shape:
        raise InputError(
            f"study.run: the base answers samples {list(x.shape)} by {list(found.shape)}; "
            "accepted: the shape of the samples."
        )


def _sha256(denoiser: Denoiser) -> str:
    """The digest of weights, modules and numbers, by which denoisers in memory are told apart."""
    digest = hashlib.sha256(repr(denoiser).encode())
    for name, tensor in denoiser.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for name, module in denoiser.named_modules():
        numbers = {k: v for k, v in vars(module).items() if isinstance(v, int | float | str)}
        digest.update(f"{name} {sorted(numbers.items())}".encode())
    return digest.hexdigest()
