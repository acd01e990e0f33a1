"""A dry run of the checks of `study run`, in which stand-ins replace files that are missing."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from study.checkpoints import (
    CACHE,
    Base,
    Variant,
    blank,
    find_statistics,
    is_external,
    public_cards,
)
from study.checkpoints.denoiser_names import split
from study.checkpoints.network_files import is_network_file
from study.engine.bases import OWN, computing, untrained
from study.engine.check import check_pairings, is_supported
from study.engine.memory import LATENT_SIDE, check_memory, features
from study.evaluation.evaluator import Evaluator
from study.evaluation.parts import VAE, Parts, decoder_of, held_out_of
from study.evaluation.score_files import references_of, statistics_files
from study.files.cache import present
from study.metrics import (
    Extractor,
    FrechetReference,
    Reference,
    files_of,
    load_extractor,
    references,
)
from study.metrics.images import Images
from study.metrics.source import Source, samples_of, source_of
from study.models.decoder import Decoder
from study.models.diffusers_files import repository
from study.specs import HELD_OUT, PairingSpec, StudySpec

# A small network in place of a larger one of its family: channels, divisible by every number of
# heads, and blocks per level.
SMALL = {"model_channels": 64, "num_blocks": 1}
FEW = 2  # images that stand for all
_STRENGTH = re.compile(r"\((?!0\)|inf\))[^()]*\)")  # in brackets, except identity strengths


def origin(name: str, spec: StudySpec) -> str | None:
    """The card, folder or file that a name in the study refers to; None if the recipe trains it."""
    base = Variant.parse(name).base
    if base != OWN:
        return base
    return None if spec.base is None else Variant.parse(spec.base).base


def elsewhere(name: str) -> bool:
    """Whether a name refers to files that are not in the package, present or not."""
    return is_external(name) or is_network_file(Path(name)) or "/" in name


def path_of(place: str, root: Path) -> Path:
    """The path of a file, folder or hub repository. Raises InputError for an invalid repository."""
    return root / CACHE / repository(place) if place.startswith("hub:") else Path(place)


def stand_in(name: str, spec: StudySpec, root: Path) -> Base | None:
    """The base of a name, or an untrained stand-in for it.

    The stand-in is smaller if the file of a public card is missing; None if files are missing that
    no card describes. Raises InputError as `resolve` does.
    """
    made_of, variant = origin(name, spec), Variant.parse(name)
    if variant.base == OWN and spec.base is not None:
        variant = variant.of(Variant.parse(spec.base))
    precision, card = variant.precision or spec.precision, public_cards().get(made_of or "")
    plain = not variant.changes.keys() - {"precision"}
    if card is not None and plain and not present(card.file, root / CACHE):
        return computing(precision, blank(str(made_of), **SMALL))
    if (
        made_of is not None
        and card is None
        and elsewhere(made_of)
        and not path_of(made_of, root).exists()
    ):
        return None
    return computing(precision, untrained(spec, name, root))


def dry_run(spec: StudySpec, own: Base, root: Path) -> None:
    """Raises InputError where `study run` would, as far as the files present allow the check.

    own: the study's base, or its stand-in. Of names that differ only in strengths one is checked.
    """
    check_memory(spec, own)
    check_pairings(spec, own)
    for kind in spec.calibrate.kinds:
        is_supported(own, kind, wanted=True)
    variants = {name: split(name)[0] for name in spec.named}
    others = {
        str(each): stand_in(str(each), spec, root) for each in variants.values() if each is not None
    }
    there = [
        name
        for name, variant in variants.items()
        if variant is None or others[str(variant)] is not None
    ]
    alike = {_STRENGTH.sub("()", name): name for name in there}
    pairings = tuple(PairingSpec(name, name) for name in alike.values())
    thin = replace(spec, pairings=pairings, search=replace(spec.search, guides=(), strength=None))
    Evaluator(thin, own, _parts(spec, own, root), lambda name: others[name] or own)


def _parts(spec: StudySpec, own: Base, root: Path) -> Parts:
    extractors = [each for name in spec.extractors if (each := _extractor(name, root)) is not None]
    if spec.reference == HELD_OUT:
        held_out_of(own)
    if len(own.data.samples):  # the extractors must accept the data that are the reference
        for extractor in extractors:
            extractor(own.data.samples[:FEW])
        return Parts([], {}, decoder_of(own, spec, root))
    found = _references(spec.reference, extractors, root)
    seen = [each for each in extractors if each.name in found]
    return Parts(seen, found, _decoder(spec, own, root))


def _extractor(name: str, root: Path) -> Extractor | None:
    """The extractor of a name; one of zeros if its published file is missing; None without card."""
    missing = [file for file in files_of(name) if not present(file, root / CACHE)]
    if missing:
        return Images(name, str(missing[0].sha256), _Zeros(features(name, ())))
    return (
        None
        if name.endswith(".json") and not Path(name).exists()
        else load_extractor(name, root).eval()
    )


def _references(name: str, extractors: Sequence[Extractor], root: Path) -> dict[str, Reference]:
    """The references of a name, made of a few data or images only; empty if its files are missing.

    For missing published statistics, whose image size is known, stand-ins are returned.
    """
    match source_of(name):
        case Source.MISSING:
            return {}
        case Source.DATA | Source.SAMPLES:
            return references(next(samples_of(name, FEW)), extractors)
        case Source.PUBLISHED:
            known, files = (
                find_statistics(name),
                statistics_files(name, [e.name for e in extractors]),
            )
            assert known is not None
            if not all(present(file, root / CACHE) for file in files.values()):
                return {e.name: _reference(e, features(e.name, ()), known.size) for e in extractors}
    return references_of(name, extractors, root)


def _reference(extractor: Extractor, d: int, size: tuple[int, int]) -> Reference:
    moments = FrechetReference(np.zeros(d), np.eye(d))
    return Reference(extractor.name, extractor.sha256, None, moments, None, size)


def _decoder(spec: StudySpec, own: Base, root: Path) -> Decoder | None:
    if own.latents and not path_of(spec.decoder or VAE, root).exists():
        return _Grey()
    return decoder_of(own, spec, root)


class _Zeros(nn.Module):
    """Features of zeros, [B, d]."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), self.d)


class _Grey(Decoder):
    """Images of zeros, of the size that the decoder of EDM2's latents gives."""

    sha256 = ""

    def __call__(self, samples: Tensor) -> Tensor:
        sides = [LATENT_SIDE * side for side in samples.shape[2:]]
        return torch.zeros(len(samples), 3, *sides, dtype=torch.uint8, device=samples.device)
