"""The parts that evaluate a study's samples: extractors, references and a decoder."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from degradations import Degradation, Denoiser, Draws, InputError
from study.checkpoints import CACHE, Base
from study.data import Data
from study.evaluation.score_files import references_of
from study.metrics import Extractor, Reference, load_extractor, strata, stream_references
from study.models.decoder import Decoder
from study.parallel.device import device
from study.sampling import Churn, Fixed, PerSample, Source, stratified
from study.specs import HELD_OUT, SamplerSpec, StudySpec

VAE = "hub:stabilityai/sd-vae-ft-mse"  # the autoencoder of EDM2's latents


class Parts(NamedTuple):
    """The extractors, references and decoder of latents of an evaluator."""

    extractors: list[Extractor]
    references: dict[str, Reference]
    decoder: Decoder | None


def load_parts(spec: StudySpec, base: Base, root: Path = Path("mlruns")) -> Parts:
    """The parts that a spec names; public files are cached under root/cache.

    Raises InputError if one is not available, and for extractors that do not take the data.
    """
    extractors = [load_extractor(name, root).eval() for name in spec.extractors]
    for extractor in extractors if len(base.data.samples) else ():
        extractor(base.data.samples[:2])
    found = _references(spec, base, extractors, root)
    return Parts(extractors, found, decoder_of(base, spec, root))


def _references(
    spec: StudySpec, base: Base, extractors: list[Extractor], root: Path
) -> dict[str, Reference]:
    held_out, own = spec.reference == HELD_OUT, spec.reference == base.data.name
    data = held_out_of(base) if held_out else base.data
    is_data = (held_out or own) and len(data.samples) > 0
    if not is_data and not spec.confirm.reference_error:
        return references_of(spec.reference, extractors, root)
    if not is_data:
        raise InputError(
            f"confirm.reference_error: found true with the reference '{spec.reference}'; accepted: "
            "a data set, whose samples can be left out."
        )
    groups = strata(len(data.samples), data.labels) if spec.confirm.reference_error else None
    return stream_references(data.batches(), extractors, groups)


@torch.inference_mode()
def check_references(name: str, parts: Parts, seen: Callable[[], Tensor]) -> None:
    """Raises InputError if image size or features of a reference do not match the samples.

    seen: returns images as the extractors receive them.
    """
    try:
        images = seen()
        for extractor in parts.extractors:
            d = extractor.to(images.device)(images).shape[1]
            wanted = len(parts.references[extractor.name].frechet.mean)
            if d != wanted:
                raise InputError(
                    f"found {wanted} features of '{extractor.name}'; the samples have {d}."
                )
    except InputError as error:
        raise InputError(f"reference '{name}': {error}") from None


def held_out_of(base: Base) -> Data:
    """The data that a base was not trained on, as a reference.

    Raises InputError if there are none, or none of a class.
    """
    found, accepted = base.held_out, "one trained on a share of its data, such as digits-part"
    if found is None:
        raise InputError(
            f"reference: found {HELD_OUT}, and nothing was held out from the base '{base.name}'; "
            f"accepted: {accepted}."
        )
    if found.missing:
        raise InputError(
            f"reference: found {HELD_OUT}, and of the base '{base.name}' no sample of the "
            f"class{'es' if len(found.missing) > 1 else ''} {', '.join(map(str, found.missing))} "
            f"was held out; accepted: a larger part."
        )
    return found


@torch.inference_mode()
def is_stochastic(base: Base, degradation: Degradation) -> bool:
    """Whether a degradation of a base is stochastic.

    Raises InputError if the base does not support the degradation.
    """
    data, draws = base.data, Draws(0)
    where = next(
        (parameter.device for parameter in base.denoiser.parameters()), torch.device("cpu")
    )
    samples = data.samples[:2] if len(data.samples) else torch.zeros(1, *data.shape)
    labels = torch.zeros(len(samples), dtype=torch.long, device=where) if data.classes else None
    degradation(base.denoiser).to(where)(samples.to(where), 1.0, labels, draws)
    return not draws.unused


def decoder_of(base: Base, spec: StudySpec, root: Path) -> Decoder | None:
    """The decoder of the base's samples, if they are latents.

    Raises InputError if it is not available, or if the config names one for a base without latents.
    """
    if base.latents:
        from study.models.diffusers import edm2_decoder

        return edm2_decoder(spec.decoder or VAE, root / CACHE)
    if spec.decoder is not None:
        raise InputError(
            f"decoder: found {spec.decoder}; leave it out, as the samples of {base.name} are not "
            "latents of EDM2."
        )
    return base.decoder


def what(base: Base) -> str:
    """A base's samples in words, for messages."""
    classes = f" of {base.data.classes} classes" if base.data.classes else ""
    return f"{'latents' if base.latents else 'samples'} {list(base.data.shape)}{classes}"


def require_alike(name: str, other: Base, base: Base) -> None:
    """Raises InputError if a named denoiser is of other samples than the base's."""
    classes = {other.data.classes, base.data.classes} - {0}
    if (other.data.shape, other.latents) != (base.data.shape, base.latents) or len(classes) > 1:
        raise InputError(
            f"'{name}': a denoiser of {what(other)}; the base '{base.name}' is one of {what(base)}."
        )


def churn_of(sampler: SamplerSpec, noise: float | None = None) -> Churn | None:
    """The noise that a sampler adds, if it adds any; noise: S_noise, if not the sampler's."""
    if sampler.churn == 0:
        return None
    scale = sampler.churn_noise if noise is None else noise
    return Churn(sampler.churn, sampler.churn_min, sampler.churn_max, scale)


def source_of(base: Base, sampler: SamplerSpec, n: int) -> Source:
    """The source of n samples of a base, with labels as a sampler chooses them."""
    data, shape = base.data, (n, *base.data.shape)
    if sampler.labels == "edm2":
        return PerSample(shape, sampler.chunk, data.classes, device())
    counts = data.counts if len(data.samples) or not data.classes else torch.ones(data.classes)
    labels = None if counts is None else stratified(counts, n)
    return Fixed(shape, sampler.chunk, labels, device())


class OtherBase(Degradation):
    """Another base instead of the study's: `digits@snapshot=512`."""

    def __init__(self, name: str, base: Base) -> None:
        self.name, self.base = name, base

    def __str__(self) -> str:
        return self.name

    def __call__(self, base: Denoiser) -> Denoiser:
        return self.base.denoiser
