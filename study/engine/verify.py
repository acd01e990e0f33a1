"""The command run --verify: scores of a study's confirmation, recomputed by clean-fid."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from study.evaluation.evaluator import Evaluator
from study.files.images import to_uint8
from study.metrics.clean_fid import verifiable, verify
from study.parallel.device import device
from study.records.task import Task
from study.search.collect import collect

TOGETHER = 100  # images that are decoded and written at a time


def verify_study(evaluator: Evaluator, root: Path) -> Iterator[str]:
    """A line for each metric of clean-fid and each pairing: this project's score and clean-fid's.

    The score is that of the confirmed weight on the first seed set of the confirmation; clean-fid
    scores the same samples, drawn again and written as 8-bit images. Memory holds the samples of
    one seed set. Raises InputError for a study without such a metric.
    """
    results = collect(root, evaluator.spec.name)
    for extractor in verifiable(evaluator.extractors):
        metric, reference = f"fd_{extractor.name}", evaluator.references[extractor.name]
        for pairing in results.spec.pairings:
            tested = results.tested(pairing, metric)
            task = results.confirmed(tested[0])[0] if tested else None
            scores = results.values([task], metric) if task else None
            if task is None or scores is None:
                yield f"{pairing.name}: no weight was confirmed for {metric}"
                continue
            verified = verify(images_of(evaluator, task), extractor, reference, scores[0], device())
            yield f"{pairing.name}, w {task.weight:g}, seed {task.seed}: {verified}"


def images_of(evaluator: Evaluator, task: Task) -> Iterator[npt.NDArray[np.uint8]]:
    """The samples of a task as 8-bit images, in batches [n, H, W, C]; latents are decoded."""
    samples = evaluator.samples(task)
    for first in range(0, len(samples), TOGETHER):
        yield to_uint8(evaluator.images(samples[first : first + TOGETHER]))
