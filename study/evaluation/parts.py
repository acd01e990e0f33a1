"""What a study's samples are looked at with: extractors, references and a decoder, made once."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from degradations import Degradation, Denoiser, Draws, InputError
from study.checkpoints import CACHE, Base
from study.evaluation.score_files import references_of
from study.metrics import Extractor, Reference, load_extractor
from study.models.decoder import Decoder
from study.specs import StudySpec

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    pass


VAE = "hub:stabilityai/sd-vae-ft-mse"  # whose latents those of EDM2 are


class Parts(NamedTuple):
    """What an evaluator looks at samples with: extractors, references, and what makes images of
    latents; and for names of denoisers whether they draw random numbers, as far as that is known.
    """

    extractors: list[Extractor]
    references: dict[str, Reference]
    decoder: Decoder | None
    stochastic: dict[str, bool]


def load_parts(spec: StudySpec, base: Base, root: Path = Path("mlruns")) -> Parts:
    """The parts that a spec names; public files are under root/cache.

    Raises InputError where one is not to be had, and for extractors that do not take the data.
    """
    extractors = [load_extractor(name, root).eval() for name in spec.extractors]
    for extractor in extractors if len(base.data.samples) else ():
        extractor(base.data.samples[:2])
    found = references_of(spec.reference, extractors, root)
    return Parts(extractors, found, decoder_of(base, spec, root), {})


@torch.inference_mode()
def is_stochastic(base: Base, degradation: Degradation) -> bool:
    """Whether a degradation of a base draws random numbers. Raises InputError where the base cannot
    suffer it."""
    data, draws = base.data, Draws(0)
    where = next(
        (parameter.device for parameter in base.denoiser.parameters()), torch.device("cpu")
    )
    samples = data.samples[:2] if len(data.samples) else torch.zeros(1, *data.shape)
    labels = torch.zeros(len(samples), dtype=torch.long, device=where) if data.classes else None
    degradation(base.denoiser).to(where)(samples.to(where), 1.0, labels, draws)
    return not draws.unused


def decoder_of(base: Base, spec: StudySpec, root: Path) -> Decoder | None:
    """What makes images of the base's samples, where they are latents. Raises InputError where it
    is not to be had."""
    if base.latents:
        from study.models.diffusers import edm2_decoder

        return edm2_decoder(spec.decoder or VAE, root / CACHE)
    if spec.decoder is not None:
        raise InputError(
            f"decoder: found {spec.decoder}, wanted none: the samples of {base.name} are no "
            "latents of EDM2."
        )
    return base.decoder


class OtherBase(Degradation):
    """Another base in the place of the study's: `digits@snapshot=512`."""

    def __init__(self, name: str, base: Base) -> None:
        self.name, self.base = name, base

    def __str__(self) -> str:
        return self.name

    def __call__(self, base: Denoiser) -> Denoiser:
        return self.base.denoiser
