"""Evaluations: a task in, scores out."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degradations import Refused, parse
from study.checkpoints import Base
from study.data import DATA, load_data
from study.files.images import batches
from study.metrics import Extractor, Reference, Tally, load_extractor, references, scores
from study.modules.sample import PairSampler, collect, score
from study.records import Task
from study.sampling import Churn, Fixed, PerSample, Source, edm_sigmas, stratified
from study.specs import SamplerSpec, StudySpec


class Evaluator:
    """A base with its reference, extractors and sampler: scores any task of a study.

    Raises Refused at once for degradations that are none, or that the base cannot suffer.
    """

    def __init__(self, spec: StudySpec, base: Base) -> None:
        self.spec, self.base = spec, base
        for name in dict.fromkeys(name for p in spec.pairings for name in (p.main, p.guide)):
            parse(name)(base.denoiser)
        self.extractors: list[Extractor] = [load_extractor(name).eval() for name in spec.extractors]
        self.references = references(base.data.samples, self.extractors)

    def fingerprint(self) -> dict[str, Any]:
        """Everything that changes a score or a proposal, by key."""
        spec, search = self.spec, self.spec.search
        found: dict[str, Any] = {f"sampler.{key}": value for key, value in vars(spec.sampler).items()}
        found |= {f"search.{key}": getattr(search, key) for key in ("weight", "step", "samples", "design")}
        found |= {f"extractors.{name}": ref.sha256 for name, ref in self.references.items()}
        reference = hashlib.sha256(self.base.data.samples.numpy().tobytes()).hexdigest()
        found |= {"extractors": spec.extractors, "seed": spec.seed, "base": self.base.sha256, "reference": reference}
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        found["device"] = accelerator.type if accelerator else "cpu"  # each has random numbers of its own
        return {key: repr(value) if isinstance(value, float) else value for key, value in found.items()}

    def scores(self, task: Task, progress: Callable[[int], Any] | None = None) -> dict[str, float]:
        """The scores of a task. Raises Failed where samples or scores are not finite."""
        tally = score(
            self._sampler(task), self._source(task.samples), task.weight, task.seed, self.extractors, progress
        )
        return scores(tally, self.references)

    def samples(self, task: Task) -> Tensor:
        """The samples of a task, [n, …]."""
        return collect(self._sampler(task), self._source(task.samples), task.weight, task.seed)

    def _sampler(self, task: Task) -> PairSampler:
        sampler = self.spec.sampler
        sigmas = edm_sigmas(task.steps, sampler.sigma_min, sampler.sigma_max, sampler.rho).tolist()
        return PairSampler(self.base.denoiser, parse(task.main), parse(task.guide), task.coupling,
                           sigmas=sigmas, solver=sampler.solver, churn=_churn(sampler))  # fmt: skip

    def _source(self, n: int) -> Source:
        data, sampler = self.base.data, self.spec.sampler
        shape = (n, *data.shape)
        if sampler.labels == "edm2":
            return PerSample(shape, sampler.chunk, data.classes)
        counts = data.counts
        return Fixed(shape, sampler.chunk, None if counts is None else stratified(counts, n))


def _churn(sampler: SamplerSpec) -> Churn | None:
    if sampler.churn == 0:
        return None
    return Churn(sampler.churn, sampler.churn_min, sampler.churn_max, sampler.churn_noise)


def score_files(path: Path, reference: str, extractor: str) -> dict[str, Any]:
    """The distances of images or samples in files to a reference: a data set's name, images, or statistics (.npz).

    Raises Refused for files that hold no samples, or a reference of another extractor or shape.
    """
    chosen = load_extractor(extractor).eval()
    tally = _tally_of(path, chosen)
    compared = _reference_of(reference, chosen)
    found: dict[str, Any] = {"samples": tally.moments[extractor].n, "reference": reference, "reference n": compared.n}
    return found | scores(tally, {extractor: compared})


def _reference_of(reference: str, extractor: Extractor) -> Reference:
    path = Path(reference)
    if reference in DATA:
        return references(load_data(reference).samples, [extractor])[extractor.name]
    if not path.exists():
        raise Refused(f"reference '{reference}': neither a data set ({', '.join(sorted(DATA))}) nor a file or folder.")
    if path.suffix == ".npz" and Reference.is_one(path):
        return Reference.load(path, extractor)
    return Reference.of(_tally_of(path, extractor), extractor)


def _tally_of(path: Path, extractor: Extractor) -> Tally:
    tally, first = Tally([extractor]), 0
    for batch in batches(path):
        tally.fold(batch, first)
        first += len(batch)
    if first < 2:
        raise Refused(f"{path}: {first} sample; at least 2 are wanted.")
    return tally
