"""Evaluations: a task in, an outcome out."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degradations import Composition, Degradation, Denoiser, Draws, Failed, Identity, Refused
from study.checkpoints import Base
from study.checkpoints.names import split
from study.data import DATA, load_data
from study.files.images import batches
from study.metrics import (
    Extractor,
    Reference,
    Tally,
    load_extractor,
    references,
    replicates,
    scores,
    size_curves,
    strata,
)
from study.metrics.tally import GROUPS
from study.modules.sample import PairSampler, Progress, collect, score
from study.records import BASE, Outcome, Task
from study.sampling import Churn, Fixed, PerSample, Source, edm_sigmas, stratified
from study.specs import SamplerSpec, StudySpec
from study.statistics import extrapolate

KEPT_BYTES = 2**30  # samples of single denoisers that are kept for the endpoint probe


class Variation(Degradation):
    """Another base in the place of the study's: `digits@snapshot=512`."""

    def __init__(self, name: str, base: Base) -> None:
        self.name, self.base = name, base

    def __str__(self) -> str:
        return self.name

    def __call__(self, base: Denoiser) -> Denoiser:
        return self.base.denoiser


class Evaluator:
    """A base with its reference, extractors and sampler: evaluates any task of a study.

    variant: finds the base of a variant's name. Raises Refused at once for names of the study that are no degradations,
    or that the base cannot suffer.
    """

    def __init__(self, spec: StudySpec, base: Base, variant: Callable[[str], Base] | None = None) -> None:
        self.spec, self.base = spec, base
        self.variant = cache(variant or _none)
        self.degradation = cache(self._degradation)
        self.is_random = cache(self._is_random)
        self.extractors: list[Extractor] = [load_extractor(name).eval() for name in spec.extractors]
        self.references = references(base.data.samples, self.extractors)
        self.held_out = references(base.held_out.samples, self.extractors) if base.held_out else {}
        self._kept: OrderedDict[Task, Tensor] = OrderedDict()
        for name in spec.named:
            self.is_random(name)

    def fingerprint(self) -> dict[str, Any]:
        """Everything that changes a score or a proposal, by key."""
        spec, search = self.spec, self.spec.search
        found: dict[str, Any] = {f"sampler.{key}": value for key, value in vars(spec.sampler).items()}
        keys = ("method", "weight", "step", "samples", "design", "screen", "interval", "strength", "guides")
        found |= {f"search.{key}": getattr(search, key) for key in keys}
        found |= {f"extractors.{name}": ref.sha256 for name, ref in self.references.items()}
        variants = (split(name)[0] for name in spec.named)
        found |= {f"variant.{v}": self.variant(str(v)).sha256 for v in variants if v is not None}
        reference = hashlib.sha256(self.base.data.samples.numpy().tobytes()).hexdigest()
        found |= {"extractors": spec.extractors, "seed": spec.seed, "base": self.base.sha256, "reference": reference}
        found["device"] = device().type  # each has random numbers of its own
        return {key: repr(value) if isinstance(value, float) else value for key, value in found.items()}

    def outcome(self, task: Task, progress: Progress | None = None) -> Outcome:
        """The outcome of a task. Raises Failed where samples or scores are not finite."""
        if task.ends:
            return self._endpoints(task, progress)
        if task.seed == self.spec.seed and task.weight == 1:  # a search's main, which its endpoint probe needs too
            samples, evaluations = self._drawn(task, progress)
            tally = self._tally(samples, task, grouped=True)
        else:
            source, evaluations = self._source(task.samples), self._evaluations(task)
            tally = score(
                self._sampler(task), source, task.weight, task.seed, self.extractors, progress, GROUPS, task.interval
            )
        found = scores(tally, self.references) | scores(tally, self.held_out, "_held_out")
        return Outcome(found, replicates(tally, self.references), evaluations=evaluations)

    def samples(self, task: Task, progress: Progress | None = None) -> Tensor:
        """The samples of a task, [n, …]."""
        source, sampler = self._source(task.samples), self._sampler(task)
        return collect(sampler, source, task.weight, task.seed, progress, task.interval)

    def _endpoints(self, task: Task, progress: Progress | None) -> Outcome:
        """Main and guide sampled alone from the same noise, and FD of w·x1 + (1 − w)·x0 at every weight.

        Scores: for each metric the best weight, the share of FD(1) that it removes, and FD there.
        """
        alone = Task.alone(task.main, task.seed, task.samples, task.steps)
        guide = Task.alone(task.guide, task.seed, task.samples, task.steps)
        if task.coupling == "independent" and self.is_random(task.guide):
            guide = replace(task, main=BASE, weight=0.0, ends=False)  # the guide with its own draws
        (x1, cost1), (x0, cost0) = self._drawn(alone, progress), self._drawn(guide, progress)
        curve: dict[str, list[float]] = {"weight": []}
        for weight in self.spec.search.weights:
            with suppress(Failed):  # a weight so large that the mixture is not finite
                tally = self._tally(x1 if weight == 1 else weight * x1 + (1 - weight) * x0, task)
                for name, reference in self.references.items():
                    mean, covariance = tally.moments[name].mean, tally.moments[name].covariance
                    curve.setdefault(f"fd_{name}", []).append(reference.frechet.distance(mean, covariance))
                curve["weight"].append(weight)
        if not curve["weight"]:
            raise Failed(f"samples of {task.main} or of {task.guide} alone are not finite.")
        found: dict[str, float] = {}
        for metric in curve.keys() - {"weight"}:
            fd = dict(zip(curve["weight"], curve[metric], strict=True))
            best = min(fd, key=lambda weight: (fd[weight], abs(weight - 1)))
            found |= {metric: fd[best], f"endpoint_weight_{metric}": best}
            found |= {f"endpoint_gain_{metric}": 1 - fd[best] / fd[1.0]} if 1.0 in fd else {}
        return Outcome(found, curve=curve, evaluations=cost1 + cost0)

    def _drawn(self, task: Task, progress: Progress | None) -> tuple[Tensor, int]:
        """The samples of a task, and the network evaluations it took; the last ones are kept."""
        if task in self._kept:
            self._kept.move_to_end(task)
            return self._kept[task], 0
        samples = self.samples(task, progress)
        self._kept[task] = samples
        while len(self._kept) > 2 and sum(x.nbytes for x in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return samples, self._evaluations(task)

    def _tally(self, samples: Tensor, task: Task, grouped: bool = False) -> Tally:
        """A tally of samples that are there, chunk by chunk as if they were drawn; grouped: with labels and groups."""
        source = self._source(task.samples)
        tally = Tally(self.extractors, strata(task.samples, source.labels, GROUPS) if grouped else None)
        for chunk in range(len(source)):
            part = source.indices(chunk)
            label = source.start(task.seed, chunk).label if grouped else None
            tally.fold(samples[part.start : part.stop], part.start, label)
        return tally

    def _evaluations(self, task: Task) -> int:
        """Network evaluations of a task, of main and guide together; the guide's only within its interval."""
        sigmas = self.sigmas(task.steps)[:-1]
        visited = sigmas + (sigmas[1:] if self.spec.sampler.solver == "heun" else [])
        low, high = task.interval or (0.0, math.inf)
        guided = 0 if task.weight in (0, 1) else sum(low <= sigma <= high for sigma in visited)
        return task.samples * (len(visited) + guided)

    def sigmas(self, steps: int) -> list[float]:
        """The noise levels that so many steps visit, and 0."""
        sampler = self.spec.sampler
        return edm_sigmas(steps, sampler.sigma_min, sampler.sigma_max, sampler.rho).tolist()

    def _sampler(self, task: Task) -> PairSampler:
        sampler = self.spec.sampler
        return PairSampler(
            self.base.denoiser, self.degradation(task.main), self.degradation(task.guide), task.coupling,
            sigmas=self.sigmas(task.steps), solver=sampler.solver, churn=_churn(sampler),
        )  # fmt: skip

    def _source(self, n: int) -> Source:
        data, sampler = self.base.data, self.spec.sampler
        shape = (n, *data.shape)
        if sampler.labels == "edm2":
            return PerSample(shape, sampler.chunk, data.classes)
        counts = data.counts
        return Fixed(shape, sampler.chunk, None if counts is None else stratified(counts, n))

    def _degradation(self, name: str) -> Degradation:
        variant, degradation = split(name)
        if variant is None:
            return degradation
        instead = Variation(str(variant), self.variant(str(variant)))
        return instead if degradation == Identity() else Composition((instead, degradation))

    def _is_random(self, name: str) -> bool:
        return suffers(self.base, self.degradation(name))


def device() -> torch.device:
    """Where networks are evaluated: on the accelerator, where there is one."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def _none(name: str) -> Base:
    raise Refused(f"'{name}': variants of the base cannot be found here.")


@torch.inference_mode()
def suffers(base: Base, degradation: Degradation) -> bool:
    """Whether a degradation of a base draws random numbers. Raises Refused where the base cannot suffer it."""
    data, draws = base.data, Draws(0)
    labels = None if data.labels is None else data.labels[:2]
    degradation(base.denoiser)(data.samples[:2], 1.0, labels, draws)
    return not draws.unused


def _churn(sampler: SamplerSpec) -> Churn | None:
    if sampler.churn == 0:
        return None
    return Churn(sampler.churn, sampler.churn_min, sampler.churn_max, sampler.churn_noise)


def score_files(path: Path, reference: str, extractor: str, extrapolated: bool = False) -> dict[str, Any]:
    """The distances of images or samples in files to a reference: a data set's name, images, or statistics (.npz).

    extrapolated: also FD against the number of samples, and its limit FD∞ with an interval at 95 %.
    Raises Refused for files that hold no samples, or a reference of another extractor or shape.
    """
    chosen = load_extractor(extractor).eval()
    compared = _reference_of(reference, chosen)
    tally = _tally_of(path, chosen, grouped=extrapolated)
    n = tally.moments[extractor].n
    if extrapolated and n < 2 * GROUPS:
        raise Refused(f"{path}: {n} samples; FD is extrapolated from at least {2 * GROUPS}.")
    found: dict[str, Any] = {"samples": n, "reference": reference, "reference n": compared.n}
    found |= scores(tally, {extractor: compared})
    for metric, (curve, *without) in size_curves(tally, {extractor: compared}).items() if extrapolated else ():
        limit = extrapolate(curve, without)
        found |= {f"{metric} of {n:.0f}": value for n, value in curve}
        found |= {f"{metric}_inf": limit.mean, f"{metric}_inf_ci": [limit.low, limit.high]}
    return found


def _reference_of(reference: str, extractor: Extractor) -> Reference:
    path = Path(reference)
    if reference in DATA:
        return references(load_data(reference).samples, [extractor])[extractor.name]
    if not path.exists():
        raise Refused(f"reference '{reference}': neither a data set ({', '.join(sorted(DATA))}) nor a file or folder.")
    if path.suffix == ".npz" and Reference.is_one(path):
        return Reference.load(path, extractor)
    return Reference.of(_tally_of(path, extractor), extractor)


def _tally_of(path: Path, extractor: Extractor, grouped: bool = False) -> Tally:
    """A tally of files, in groups by their number modulo ten where wanted: the files are then gone through twice."""
    n = sum(len(batch) for batch in batches(path)) if grouped else 0
    tally, first = Tally([extractor], strata(n) if grouped else None), 0
    for batch in batches(path):
        tally.fold(batch, first)
        first += len(batch)
    if first < 2:
        raise Refused(f"{path}: {first} sample; at least 2 are wanted.")
    return tally
