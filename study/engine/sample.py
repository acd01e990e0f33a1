"""The command `sample`: samples of one pairing at one weight, as files."""

import re
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from degradations import InputError, RunError, parse_rule
from study.engine import memory
from study.engine.check import evaluator_of
from study.evaluation.evaluator import Evaluator
from study.files.images import to_uint8, write_npz, write_png
from study.parallel.device import device
from study.parallel.group import as_rank_zero, group, serve
from study.records.task import Task
from study.report import figures
from study.specs import CONSTANT, PairingSpec, SearchSpec, StudySpec
from study.specs.typed import MOST_PART

SHOWN = 256  # samples in the grid


def sample(
    spec: StudySpec,
    pairing: PairingSpec,
    weight: float,
    n: int,
    root: Path,
    out: Path | None = None,
    as_images: bool = False,
) -> Path | None:
    """Draw n samples of a pairing at a weight and write them; returns their folder.

    Written are grid.png, and samples.npz or, as_images, a folder of 8-bit PNG files. out: by
    default a folder in root/samples. In a launched group only rank 0 writes; the others return
    None. Raises RunError, before anything is written, if samples are not finite.
    """
    if weight == 1 and not parse_rule(pairing.rule).main_at_one:
        raise InputError(
            f"--weight: found 1, which is not the main alone with the rule {pairing.rule}; "
            "accepted: other weights."
        )
    task = Task.guided(pairing, weight, spec.seed, n, spec.sampler.steps)
    folder = out or root / "samples" / default_folder(spec, pairing, weight, n)
    # Without a search its memory is not needed, but all samples are held.
    search = SearchSpec(method="grid", samples=2)
    alone = replace(spec, pairings=(pairing,), matrix=None, search=search)
    evaluator = evaluator_of(alone, root)
    memory.check([memory.drawn(n, evaluator.base.data.shape)], device())
    if group().rank > 0:
        serve(evaluator)
        return None
    with as_rank_zero():
        samples = evaluator.samples(task)
    bad = int((~samples.flatten(1).isfinite().all(dim=1)).sum())
    if bad:
        raise RunError(
            f"{bad} of {n} samples are not finite at weight {weight:g}; nothing was written."
        )
    _write(evaluator, task.name, samples, folder, as_images)
    return folder


def default_folder(spec: StudySpec, pairing: PairingSpec, weight: float, n: int) -> str:
    """The name of a folder of samples, of all that determines them in a study.

    Raises InputError if it is too long for a file.
    """
    rule = "" if pairing.rule == CONSTANT else f"-{pairing.rule}"
    name = (
        f"{spec.name}-{pairing.main}-{pairing.guide}-{pairing.coupling}{rule}-w{weight:g}"
        f"-seed{spec.seed}-{spec.sampler.steps}steps-{n}"
    )
    plain = re.sub(r"[^\w.@=,+-]+", "-", name.replace("(", "").replace(")", ""))
    if len(plain.encode()) > MOST_PART:
        raise InputError(
            f"--out: missing; the default name, of these degradations, exceeds {MOST_PART} bytes."
        )
    return plain


def _write(evaluator: Evaluator, name: str, samples: Tensor, folder: Path, as_images: bool) -> None:
    if samples.ndim == 4:
        write_png(folder / "grid.png", figures.tile(evaluator.images(samples[:SHOWN])))
    else:
        figures.save(figures.samples({name: samples}), folder / "grid.png")
    if not as_images or samples.ndim != 4:
        write_npz(folder / "samples.npz", samples)
        return
    for index, each in enumerate(samples[:, None]):
        write_png(folder / "images" / f"{index:06d}.png", to_uint8(evaluator.images(each))[0])
