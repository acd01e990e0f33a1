"""The floors against which the scores of a study are read."""

import torch

from study.evaluation.evaluator import Evaluator
from study.metrics.floors import memoriser_floor, perfect_floor
from study.metrics.tally import KEPT
from study.parallel.device import device

BLOCK = 512  # training data whose features are extracted together


@torch.inference_mode()
def floors_of(evaluator: Evaluator, n: int) -> dict[str, dict[str, float]]:
    """For each Fréchet distance of n samples its floors, as far as they can be known.

    perfect: of a model whose features are N(μ_r, Σ_r). memoriser: of one that returns training
    data; for bases with at most 5000 of them.
    """
    found: dict[str, dict[str, float]] = {}
    trained_on = evaluator.base.trained_on
    for extractor in evaluator.extractors:
        reference = evaluator.references[extractor.name].frechet
        floors = {"perfect": perfect_floor(reference, n)}
        if trained_on is not None and 0 < len(trained_on.samples) <= KEPT:
            features = torch.cat(
                [extractor.to(device())(x.to(device())).cpu() for x in trained_on.batches(BLOCK)]
            )
            floors["memoriser"] = memoriser_floor(reference, features, trained_on.labels, n)
        found[f"fd_{extractor.name}"] = floors
    return found
