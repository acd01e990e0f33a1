"""The evaluator: computes the outcome of a task."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from degradations import Composition, Degradation, Identity, InputError, Pair, RunError
from study.checkpoints import Base
from study.checkpoints.denoiser_names import split
from study.data import Data
from study.evaluation import noise_levels
from study.evaluation.counting import network_evaluations
from study.evaluation.endpoints import endpoint_scores, mixture_curve
from study.evaluation.fingerprint import fingerprint
from study.evaluation.parts import (
    OtherBase,
    Parts,
    check_references,
    churn_of,
    is_stochastic,
    require_alike,
    source_of,
)
from study.evaluation.pruning import Early, looks, pruned, with_look
from study.evaluation.trajectory_error import trajectory_error
from study.metrics import Tally, reference_replicates, replicates, scores, strata, stream_references
from study.metrics.tally import GROUPS
from study.parallel.device import device
from study.parallel.group import announce, group
from study.records.task import BASE, Evaluation, Outcome, Task
from study.sampling import OnSamples, Source, solver_of
from study.specs import HELD_OUT, StudySpec

if TYPE_CHECKING:
    from study.lightning.sample import Job, PairSampler

DECODED = 8  # latents decoded together for figures and files
KEPT_BYTES = 2**30  # limit of cached samples of single denoisers, for the endpoint probe


class Evaluator:
    """A base with its reference, extractors and sampler: evaluates any task of a study.

    variant: returns the base of a variant's name. stochastic: of the names of denoisers, as far as
    it is known, whether they draw random numbers. At once raises InputError for names of the study
    that are not degradations or that the base does not support, and for references that do not
    match the base's samples.
    """

    def __init__(
        self,
        spec: StudySpec,
        base: Base,
        parts: Parts,
        variant: Callable[[str], Base] | None = None,
        stochastic: Mapping[str, bool] | None = None,
    ) -> None:
        self.spec, self.base = spec, base
        base.denoiser.to(device())
        self.variant = cache(variant or _none)
        self.degradation = cache(self._degradation)
        noise_levels.check(spec.sampler, base, base)
        self.extractors, self.references, self.decoder = parts
        self._stochastic = dict(stochastic or {})
        beside = base.held_out if spec.reference != HELD_OUT else None
        self.held_out = stream_references(beside.batches(), self.extractors) if beside else {}
        self._kept: OrderedDict[Task, Tensor] = OrderedDict()
        if not len(base.data.samples):
            zeros = torch.zeros(1, *base.data.shape)
            check_references(spec.reference, parts, partial(self._to_images, zeros))
        for name in spec.named:
            self.is_stochastic(name)

    def fingerprint(self) -> dict[str, Any]:
        """Everything that changes a score or a proposal, by key."""
        return fingerprint(self.spec, self.base, self.references, self.decoder, self.variant)

    def outcome(
        self, task: Task, progress: OnSamples | None = None, best: Evaluation | None = None
    ) -> Outcome:
        """The outcome of a task. Raises RunError if samples or scores are not finite.

        best: the best evaluation of its search so far, for `pruning`.
        """
        announce("outcome", task)
        if task.endpoint_probe:
            return self._endpoints(task, progress)
        if task.mean_error:
            return self._mean_error(task)
        source = self._source(task.samples)
        if task.seed == self.spec.seed and task.weight == 1 and self._keeps(task):
            samples, evaluations = self._drawn(task, progress)
            best = None  # nothing is saved by ending

            def scored(chunks: range) -> Tally:
                return self._tally(samples, task, True, chunks)
        else:
            from study.lightning.sample import score  # late, as below: Lightning takes seconds

            job, sampler = self._job(task), self._sampler(task)
            evaluations = self._evaluations(task, sampler.pair)

            def scored(chunks: range) -> Tally:
                empty, some = self._empty_tally(source), job._replace(chunks=chunks)
                return score(sampler, some, empty, progress, self._to_images)

        early: Early = {}
        tally, done = self._empty_tally(source), 0
        for chunks in looks(source) if self._is_searched(task) else ():
            tally, done = tally + scored(chunks), chunks.stop
            early = with_look(early, tally, self.references)
            n = source.indices(done - 1).stop
            ended = pruned(early, best, self.spec.metrics[0], n / task.samples)
            if group().broadcast(ended is not None):  # the first process knows the best
                made = evaluations // task.samples * n
                return replace(ended or Outcome(), network_evaluations=made)
        tally = tally + scored(range(done, len(source)))
        if group().rank > 0:  # only the first process computes scores from the sum
            return Outcome()
        found = scores(tally, self.references) | scores(tally, self.held_out, "_held_out")
        left_out, by_reference = replicates(tally, self.references), {}
        if task.seed != self.spec.seed and self.spec.confirm.reference_error:
            by_reference = reference_replicates(tally, self.references)
        return Outcome(found, left_out, {}, evaluations, by_reference, early)

    def samples(self, task: Task, progress: OnSamples | None = None) -> Tensor:
        """The samples of a task, [n, …]."""
        announce("samples", task)
        return self._samples(task, progress)[0]

    def own_data(self, n: int, seed: int) -> Data:
        """n samples of the base with their labels, in place of data if the base has none."""
        task, source = Task.single(BASE, seed, n, self.spec.sampler.steps), self._source(n)
        found = [source.start(seed, chunk).condition.label for chunk in range(len(source))]
        labels = [label.cpu() for label in found if label is not None]
        return replace(
            self.base.data, samples=self.samples(task), labels=torch.cat(labels) if labels else None
        )

    def images(self, samples: Tensor) -> Tensor:
        """The images of samples: the samples themselves, or decoded latents in [−1, 1]."""
        if self.decoder is None:
            return samples
        parts = (
            samples[first : first + DECODED].to(device())
            for first in range(0, len(samples), DECODED)
        )
        return torch.cat([self.decoder(part).cpu() for part in parts]).float() / 127.5 - 1

    def _samples(self, task: Task, progress: OnSamples | None = None) -> tuple[Tensor, int]:
        """The samples of a task and the network evaluations made."""
        from study.lightning.sample import collect

        sampler = self._sampler(task)
        samples = collect(sampler, self._job(task), progress)
        return samples, self._evaluations(task, sampler.pair)

    def _endpoints(self, task: Task, progress: OnSamples | None) -> Outcome:
        """The endpoint probe: FD of w·x1 + (1 − w)·x0 at every weight.

        x1 and x0 are samples of main and guide alone from the same noise. Scores: for each metric
        the best weight, the share of FD(1) that it removes, and FD there.
        """
        alone = Task.single(task.main, task.seed, task.samples, task.steps)
        guide = Task.single(task.guide, task.seed, task.samples, task.steps)
        if task.coupling == "independent" and self.is_stochastic(task.guide):
            guide = replace(
                task, main=BASE, weight=0.0, endpoint_probe=False
            )  # the guide with independent draws
        (x1, cost1), (x0, cost0) = self._drawn(alone, progress), self._drawn(guide, progress)
        if group().rank > 0:
            return Outcome()
        weights, score = self.spec.search.weights, partial(self._tally, task=task)
        curve = mixture_curve(weights, x1, x0, score, self.references)
        if not curve["weight"]:
            raise RunError(f"the samples of {task.main} or of {task.guide} alone are not finite.")
        return Outcome(endpoint_scores(curve), curve=curve, network_evaluations=cost1 + cost0)

    def _mean_error(self, task: Task) -> Outcome:
        """The mean error of the main along the base's trajectories, of at most a chunk of them."""
        start, sampler = self._source(task.samples).start(task.seed, 0), self.spec.sampler
        own, degraded = self.base.denoiser, self.degradation(task.main)(self.base.denoiser)
        sigmas, probe = self.sigmas(task.steps), self.spec.probe
        return trajectory_error(own, degraded, start, sigmas, sampler.solver, probe, task.seed)

    def _drawn(self, task: Task, progress: OnSamples | None) -> tuple[Tensor, int]:
        """The samples of a task and the network evaluations made; the latest samples are cached."""
        if task in self._kept:
            self._kept.move_to_end(task)
            return self._kept[task], 0
        samples, made = self._samples(task, progress)
        self._kept[task] = samples
        while len(self._kept) > 2 and sum(x.nbytes for x in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return samples, made

    def _keeps(self, task: Task) -> bool:
        """Whether samples of a search's main are cached: for an endpoint probe, or if they are few.

        Never in a launched group, whose processes share features instead of samples.
        """
        if group().world > 1:
            return False
        return (
            self.spec.search.method == "probe"
            or task.samples * math.prod(self.base.data.shape) * 4 <= KEPT_BYTES
        )

    def _is_searched(self, task: Task) -> bool:
        """Whether a task may be one of a search that prunes."""
        search = self.spec.search
        pruning = search.prune and search.method != "grid"
        return pruning and (task.seed, task.samples) == (self.spec.seed, search.samples)

    def _tally(
        self, samples: Tensor, task: Task, grouped: bool = False, chunks: range | None = None
    ) -> Tally:
        """A tally of given samples, in the chunks of sampling; grouped: with labels and groups."""
        source = self._source(task.samples)
        tally = self._empty_tally(source) if grouped else Tally(self.extractors)
        for chunk in range(len(source)) if chunks is None else chunks:
            part = source.indices(chunk)
            label = source.start(task.seed, chunk).condition.label if grouped else None
            tally.fold(self._to_images(samples[part.start : part.stop]), part.start, label)
        return tally

    def _empty_tally(self, source: Source) -> Tally:
        """A tally in groups, for the samples of a source."""
        return Tally(self.extractors, strata(source.shape[0], source.labels, GROUPS))

    def _to_images(self, samples: Tensor) -> Tensor:
        """The input of extractors for samples [B, …]: images, decoded if the samples are latents.

        Raises InputError if their size differs from that of the reference.
        """
        samples = samples.to(device())
        seen = samples if self.decoder is None else self.decoder(samples)
        for reference in self.references.values():
            reference.require_size(seen)
        return seen

    def _evaluations(self, task: Task, pair: Pair) -> int:
        """Network evaluations of a task, of main and guide together, as made by `Guided`."""
        visits = solver_of(self.spec.sampler.solver).visits(self.sigmas(task.steps))
        main, guide = (self.degradation(name).networks for name in (task.main, task.guide))
        return network_evaluations(task, visits, main, guide, pair.shares)

    def sigmas(self, steps: int) -> list[float]:
        """The noise levels visited in `steps` steps, and 0, within those that the base supports."""
        return noise_levels.visited(self.spec.sampler, self.base, steps)

    def _sampler(self, task: Task) -> "PairSampler":
        from study.lightning.sample import PairSampler

        sampler = self.spec.sampler
        return PairSampler(
            self.base.denoiser,
            self.degradation(task.main),
            self.degradation(task.guide),
            task.coupling,
            sigmas=self.sigmas(task.steps),
            solver=sampler.solver,
            churn=churn_of(sampler, task.churn_noise),
        )

    def _job(self, task: Task) -> "Job":
        from study.lightning.sample import Job

        return Job(self._source(task.samples), task.seed, task.weight, task.rule)

    def _source(self, n: int) -> Source:
        return source_of(self.base, self.spec.sampler, n)

    def _degradation(self, name: str) -> Degradation:
        variant, degradation = split(name)
        if variant is None:
            return degradation
        other = self.variant(str(variant))
        require_alike(name, other, self.base)
        noise_levels.check(self.spec.sampler, self.base, other)
        other.denoiser.to(device())
        instead = OtherBase(str(variant), other)
        return instead if degradation == Identity() else Composition((instead, degradation))

    def is_stochastic(self, name: str) -> bool:
        """Whether a named denoiser is stochastic; raises InputError as `parts.is_stochastic`."""
        degradation = self.degradation(name)
        if name not in self._stochastic:
            self._stochastic[name] = is_stochastic(self.base, degradation)
        return self._stochastic[name]


def _none(name: str) -> Base:
    raise InputError(f"'{name}': a variant of the base; variants are not available here.")
