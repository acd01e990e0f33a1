"""The command `probe`: predictions of a study's pairings without guided sampling."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from degradations import InputError
from study.checkpoints.denoiser_names import canonical
from study.data import Data
from study.engine import schedule
from study.engine.check import evaluator_of, require_pairings
from study.engine.report import write
from study.engine.session import opened
from study.evaluation import mean_errors, predictions
from study.evaluation.evaluator import Evaluator
from study.files.places import report_folder
from study.parallel.device import device
from study.records.results import Results
from study.report.probes import maps, render
from study.sampling import Fixed
from study.specs import PairingSpec, ProbeSpec, StudySpec

OWN_SEED = 2**20  # of samples used instead of data, apart from those of search and confirmation


@dataclass(frozen=True)
class Probes:
    """The rows of the probes, one per pairing, and the seconds that their parts took."""

    rows: list[dict[str, Any]]
    seconds: dict[str, float]


def probe_study(spec: StudySpec, root: Path) -> Probes:
    """Both probes of every pairing, kept under mlruns/reports/NAME and in MLflow.

    The endpoint probes are stored with the study's evaluations, where a search reuses them.
    """
    require_pairings(spec)
    evaluator = evaluator_of(spec, root)
    with opened(evaluator, root, role="observer") as study:
        expanded = study.worker.expand()
        names = list(dict.fromkeys(name for p in expanded.pairings for name in (p.main, p.guide)))
        began = time.perf_counter()
        settings = expanded.probe
        study.progress.say(
            f"mean errors of {len(names)} denoisers at {settings.images} images, {settings.levels} "
            f"noise levels, up to {settings.draws} draws each …"
        )
        apart = list(
            dict.fromkeys(p.guide for p in expanded.pairings if p.coupling == "independent")
        )
        measured = _measure(evaluator, names, expanded.probe, expanded.seed, apart)
        losses = {p: measured.loss(p) for p in expanded.pairings}
        seconds = {"mean errors and losses": time.perf_counter() - began}
        began = time.perf_counter()
        study.worker.work(schedule.endpoints)
        seconds["endpoints"] = time.perf_counter() - began
        results = study.worker.results
        rows = [
            {**measured.predict(p), **_endpoints(results, p), **losses[p]}
            for p in expanded.pairings
        ]
        folder = report_folder(root, spec.name)
        written = [
            write(
                folder / "probe.json",
                json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False),
            ),
            write(folder / "probe.md", render(rows, "md")),
            *maps(rows, folder),
        ]
        study.publisher.files(written, "probe")
        for row, pairing in zip(rows, expanded.pairings, strict=True):
            found = {
                f"probe_{key}": value for key, value in row.items() if isinstance(value, float)
            }
            study.publisher.conclude(pairing, found)
        return Probes(rows, seconds)


def several_guides(spec: StudySpec, main: str, guides: Sequence[str], root: Path) -> dict[str, Any]:
    """The weights of several guides of one main that minimise the mean error.

    D = D1 + Σᵢ (wᵢ − 1)(D1 − D0ᵢ). Raises InputError for fewer than two different guides.
    """
    main, guides = canonical(main), [canonical(guide) for guide in guides]
    if len(set(guides)) < 2:
        raise InputError(
            f"--guides: found {', '.join(guides) or 'none'}; give at least two different guides."
        )
    pairings = tuple(PairingSpec(main, guide) for guide in guides)
    evaluator = evaluator_of(replace(spec, pairings=pairings, matrix=None), root)
    measured = _measure(evaluator, [main, *guides], spec.probe, spec.seed)
    found: dict[str, Any] = {"main": main, "guides": guides}
    for suffix, products in (
        ("", measured.products["data"]),
        ("_on_trajectories", measured.products["trajectories"]),
    ):
        weights, intervals = predictions.several_guides(
            products, main, guides, spec.probe.resamples, spec.seed
        )
        found |= {f"weights{suffix}": weights, f"weights_ci{suffix}": intervals}
    return found


@dataclass(frozen=True)
class _Measured:
    """Products of mean errors on noised data and on trajectories, residuals, and their settings."""

    spec: ProbeSpec
    seed: int
    products: Mapping[str, mean_errors.Products]
    residuals: mean_errors.Residuals | None
    is_held_out: bool

    def predict(self, pairing: PairingSpec) -> dict[str, Any]:
        """The row of a pairing's mean errors."""
        found = {name: self._predict(products, pairing) for name, products in self.products.items()}
        return {
            "main": pairing.main,
            "guide": pairing.guide,
            "coupling": pairing.coupling,
            "rule": pairing.rule,
            **found["data"],
            "on_trajectories": found["trajectories"],
        }

    def _predict(self, products: mean_errors.Products, pairing: PairingSpec) -> dict[str, Any]:
        ends = pairing.main, pairing.guide
        pooled = predictions.predict(products, *ends, self.spec.resamples, self.seed)
        levels = [
            predictions.predict(products, *ends, 200, self.seed, level)
            for level in range(len(products.sigmas))
        ]
        keys = ("cosine", "ratio", "criterion", "gain", "weight")
        by_sigma = {"sigma": list(products.sigmas)} | {
            key: [getattr(each, key) for each in levels] for key in keys
        }
        return {**pooled.as_dict(), "by_sigma": by_sigma}

    def loss(self, pairing: PairingSpec) -> dict[str, Any]:
        """The row of a pairing's denoising loss."""
        assert self.residuals is not None
        found = predictions.loss(
            self.residuals,
            pairing.main,
            pairing.guide,
            pairing.coupling,
            self.spec.resamples,
            self.seed,
        )
        return {
            "loss_weight": found.weight,
            "loss_weight_ci": list(found.weight_ci) if found.weight_ci else None,
            "loss_gain": found.gain,
            "loss_on_held_out": self.is_held_out,
        }


def _measure(
    evaluator: Evaluator,
    names: Sequence[str],
    spec: ProbeSpec,
    seed: int,
    apart: Sequence[str] | None = None,
) -> _Measured:
    """Evaluate base and degraded denoisers at the points of the probes, on the study's device.

    apart: guides with independent draws, for the losses; None if no losses are wanted.
    """
    base, sampler = evaluator.base, evaluator.spec.sampler
    where = device()
    own = base.denoiser.to(where)
    denoisers = {name: evaluator.degradation(name)(own).to(where) for name in names}
    data = base.held_out or base.data
    if not len(data.samples):
        data = evaluator.own_data(spec.images, seed + OWN_SEED)
    clean, labels = _some(data, spec.images)
    labels = None if labels is None else labels.to(where)
    sigmas = evaluator.sigmas(sampler.steps)
    start = Fixed((len(clean), *data.shape), len(clean), labels, where).start(seed, 0)
    trajectories = mean_errors.along_trajectories(own, start, sigmas, sampler.solver, spec.levels)
    points = mean_errors.noised(clean.to(where), labels, trajectories.sigmas, seed)
    # The loss is a mean over images, levels and draws, so fewer draws suffice.
    losses = 0 if apart is None else max(2, spec.draws // 4)
    on_data, residuals = mean_errors.errors_and_residuals(
        own, denoisers, points, spec.draws, losses, apart or (), seed
    )
    products = {
        "data": on_data,
        "trajectories": mean_errors.mean_errors(own, denoisers, trajectories, spec.draws, seed),
    }
    return _Measured(spec, seed, products, residuals, base.held_out is not None)


def _some(data: Data, n: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """At most n samples of the data, always the same, and their labels."""
    chosen = torch.randperm(len(data.samples), generator=torch.Generator().manual_seed(0))[:n]
    return data.samples[chosen], None if data.labels is None else data.labels[chosen]


def _endpoints(results: Results, pairing: PairingSpec) -> dict[str, Any]:
    """The row of a pairing's endpoint probe: the primary metric, every metric, and the curve."""
    found = results.shared[results.endpoints(pairing)]

    def of(metric: str) -> dict[str, float | None]:
        return {
            key: found.scores.get(f"{key}_{metric}") for key in ("endpoint_weight", "endpoint_gain")
        }

    curve = {key: list(values) for key, values in found.outcome.curve.items()}
    return {
        **of(results.primary),
        "endpoints": {metric: of(metric) for metric in results.metrics},
        "endpoint_curve": curve,
    }
