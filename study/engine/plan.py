"""The resources that a study will need, estimated beforehand: files, time, disk and memory."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch.func import functional_call

from study.checkpoints import CACHE, CARD, Base, blank, public_cards
from study.checkpoints.denoiser_names import split
from study.engine import schedule
from study.engine.bases import OWN, computing
from study.engine.memory import features, in_words, needs_of
from study.engine.stand_ins import dry_run, elsewhere, origin, path_of, stand_in
from study.evaluation import noise_levels
from study.evaluation.parts import VAE
from study.evaluation.score_files import statistics_files
from study.files.cache import PublicFile, present
from study.metrics import files_of
from study.metrics.source import Source, source_of
from study.parallel.device import device
from study.parallel.group import group
from study.sampling import nfe
from study.specs import HELD_OUT, StudySpec
from study.training import folder_of

# operations timed, about, on a CPU and on an accelerator: far less than a second of work
TIMED = 10**10, 10**13
REPEATS = 2
BACKWARDS = 3  # network evaluations that a sample's gradient takes, about
SHOWN = 12  # entries shown of each part


@dataclass(frozen=True)
class RequiredFile:
    """An external file or folder that a study reads; missing: how to obtain it, "" if present."""

    what: str
    path: Path
    missing: str = ""

    def __str__(self) -> str:
        if self.missing:
            return f"missing  {self.what}: {self.path}\n           {self.missing}"
        return f"present  {self.what}: {self.path}"


def estimate(spec: StudySpec, root: Path) -> str:
    """The resources that a study needs on this device; nothing is downloaded, trained or written.

    One evaluation of the network is timed, or of a smaller network if the file of a public card is
    missing. Raises InputError for a config for which `run` would raise it, as far as the files
    present allow the check.
    """
    base, count = stand_in(OWN, spec, root), schedule.count(spec, at_most=True)
    files = list(_files(spec, root))
    if base is not None:
        dry_run(spec, base, root)
    pairings = [pairing.name for pairing in spec.pairings]
    evaluations = [
        f"{count.evaluations:,} at most, of {count.samples:,} samples and "
        f"{count.passes * nfe(spec.sampler):,} network evaluations together",
        f"search ({spec.search.method}): {spec.search.samples:,} samples each; confirmation: "
        f"{spec.confirm.seed_sets} seed sets of {spec.confirm.samples:,}; "
        f"{nfe(spec.sampler)} evaluations a sample of a single denoiser",
    ]
    if spec.search.method == "probe":
        evaluations.append(
            f"endpoint probe: {len(spec.search.weights)} mixtures of {spec.search.samples:,} "
            "samples per pairing are also scored, without the network (not with search.method gp)"
        )
    if base is not None and (limited := noise_levels.limited(spec.sampler, base)) is not None:
        evaluations.append(
            f"noise levels {limited}, instead of the sampler's {spec.sampler.sigma_max:g} to "
            f"{spec.sampler.sigma_min:g}, which {base.name} does not fully support"
        )
    parts = {
        "Files": _shortened(
            [str(each) for each in files] or ["none besides those included in the package"]
        ),
        "Published": _published(spec) or ["no scores of this base"],
        "Pairings": [
            *_shortened(pairings),
            *(["and those of the matrix, of all its kinds"] if spec.matrix else []),
        ],
        "Evaluations": evaluations,
        "Time": _time(spec, base, count, root),
        "Disk": _disk(spec, base),
        "Memory": _memory(spec, base),
    }
    return "\n".join(
        line for name, lines in parts.items() for line in [name, *(f"  {each}" for each in lines)]
    )


def _shortened(entries: Sequence[str]) -> list[str]:
    """The first entries, and how many more there are."""
    more = len(entries) - SHOWN
    return [*entries[:SHOWN], *([f"and {more:,} more"] if more > 0 else [])]


def _whole(spec: StudySpec, base: Base) -> Base:
    """The base; that of a public card with its full network, but without memory for its weights."""
    name = origin(OWN, spec)
    if name not in public_cards():
        return base
    return _weightless(name)


@cache
def _weightless(name: str) -> Base:
    """The base of a public card without memory for its weights."""
    with torch.device("meta"):
        return blank(name)


def _files(spec: StudySpec, root: Path) -> Iterator[RequiredFile]:
    """Every external file that a study reads."""
    variants = [split(name)[0] for name in spec.named]
    found = [origin(OWN, spec), *(origin(str(each), spec) for each in variants if each is not None)]
    origins = list(dict.fromkeys(name for name in found if name is not None))
    for name in origins:
        if name in public_cards():
            card = public_cards()[name]
            parameters = sum(p.numel() for p in _weightless(name).denoiser.parameters())
            size = f", about {2 * parameters / 1e9:.2f} GB" if card.file.size is None else ""
            yield _public(card.file, root, f"{size}, {card.licence}")
        elif elsewhere(name):
            yield _place(f"checkpoint {name}", name, root)
    for extractor in spec.extractors:
        if extractor.endswith(".json"):
            yield _place(f"extractor {extractor}", extractor, root)
        for file in files_of(extractor):
            yield _public(file, root)
    source = Source.DATA if spec.reference == HELD_OUT else source_of(spec.reference)
    if source is Source.PUBLISHED:
        for file in dict.fromkeys(statistics_files(spec.reference, spec.extractors).values()):
            yield _public(file, root)
    elif source is not Source.DATA:
        yield _place(f"reference {spec.reference}", spec.reference, root)
    if spec.decoder is not None or any(
        name in public_cards() and public_cards()[name].latents for name in origins
    ):
        yield _place("decoder of latents", spec.decoder or VAE, root)


def _published(spec: StudySpec) -> list[str]:
    """The published scores of the base's checkpoint, alone and guided."""
    name = origin(OWN, spec)
    if name is None or name not in public_cards():
        return []
    card = public_cards()[name]
    alone = {"FID": card.fid, "FD-DINOv2": card.fd_dinov2}
    found = [
        f"{card.paper}; EMA {card.ema}, {card.kimg} thousand images" if card.ema else card.paper
    ]
    found += [
        f"{metric} {value} alone{f' ({card.note})' if card.note else ''}"
        for metric, value in alone.items()
        if value
    ]
    for each in card.guided:
        metric = f"FID {each['fid']}" if "fid" in each else f"FD-DINOv2 {each['fd_dinov2']}"
        found.append(f"{metric} guided by {each['guide']} at w = {each['weight']}")
    return found


def _public(file: PublicFile, root: Path, about: str = "") -> RequiredFile:
    size = f", {file.size / 1e9:.2f} GB" if file.size else ""
    digest = file.sha256 or "none is published; that of the first download is kept"
    how = f"from {file.address}{size}{about}; SHA-256: {digest}"
    return RequiredFile(
        file.card, root / CACHE / file.name, "" if present(file, root / CACHE) else how
    )


def _place(what: str, place: str, root: Path) -> RequiredFile:
    path, hub = path_of(place, root), place.startswith("hub:")
    how = (
        f"from the Hugging Face hub, repository {place.removeprefix('hub:')}"
        if hub
        else "no such file or folder"
    )
    return RequiredFile(what, path, "" if path.exists() else how)


@torch.inference_mode()
def _time(spec: StudySpec, base: Base | None, count: schedule.Count, root: Path) -> list[str]:
    if base is None:
        return ["unknown: the base is missing, and no card describes it"]
    where, whole = device(), _whole(spec, base)
    # An accelerator holds the full network, and a small one would not occupy it.
    if where.type != "cpu" and whole is not base:
        with where:
            base = computing(spec.precision, blank(whole.name))
    flop, of_base = _flop(whole), _flop(base)
    samples = int(min(max(1, TIMED[where.type != "cpu"] // of_base), spec.sampler.chunk))
    denoiser = base.denoiser.to(where)
    x = torch.randn(samples, *base.data.shape, device=where)
    label = torch.zeros(samples, dtype=torch.long, device=where) if base.data.classes else None
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        denoiser(x, 1.0, label).sum().item()  # waits for the accelerator
        seconds.append(time.perf_counter() - began)
    each = min(seconds) / samples * flop / of_base
    name = (
        torch.cuda.get_device_name()
        if where.type == "cuda"
        else f"{where.type}, {torch.get_num_threads()} threads"
    )
    total, beside = (
        count.passes * nfe(spec.sampler),
        ", decoding" if base.latents or base.decoder else "",
    )
    how = (
        f"measured on {samples}"
        if flop == of_base
        else f"extrapolated from a network of {of_base / flop:.0%} of its operations"
    )
    return [
        *_training(each, base, root),
        f"{_duration(each * total / group().world)} on {name}: {1000 * each:,.3g} ms per "
        f"network evaluation and sample, {base.precision}, {how}",
        f"{_duration(flop * total / 1e14)} on a device with 100 TFLOP/s: "
        f"{flop / 1e9:,.3g} GFLOP per network evaluation",
        f"features{beside} and degradations are not counted",
    ]


def _training(each: float, base: Base, root: Path) -> list[str]:
    """How long the training of a base takes that is not trained yet; each: seconds forwards."""
    recipe = base.recipe
    if recipe is None or base.sha256 or (folder_of(recipe, root, base.data) / CARD).is_file():
        return []
    seconds = BACKWARDS * each * recipe.steps * recipe.batch
    return [
        f"{_duration(seconds)} of training first: {recipe.steps:,} steps of {recipe.batch} "
        f"samples, each about {BACKWARDS} network evaluations"
    ]


def _duration(seconds: float) -> str:
    """A time at most, in a unit in which it can be read."""
    for unit, name in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.3g} {name} at most"
    return f"{max(seconds, 1):.0f} seconds at most"


def _flop(base: Base) -> int:
    """Floating-point operations of one network evaluation of one sample; a multiply-add is two."""
    from torch.utils.flop_counter import FlopCounterMode

    tensors = dict(base.denoiser.named_parameters()) | dict(base.denoiser.named_buffers())
    weightless = {name: tensor.to("meta") for name, tensor in tensors.items()}
    label = torch.zeros(1, dtype=torch.long, device="meta") if base.data.classes else None
    given = torch.zeros(1, *base.data.shape, device="meta"), 1.0, label
    with FlopCounterMode(display=False) as counter:
        functional_call(base.denoiser, weightless, given)
    return int(counter.get_total_flops())


def _disk(spec: StudySpec, base: Base | None) -> list[str]:
    shape = () if base is None else base.data.shape
    # kept twice, in the report and in MLflow
    statistics = sum(2 * 8 * features(name, shape) ** 2 for name in spec.extractors)
    shown = 5e6 + 5e5 * len(spec.pairings) + statistics
    return [
        f"about {shown / 1e6:.0f} MB of tables, figures, statistics and databases, besides "
        "the files above; no images are kept"
    ]


def _memory(spec: StudySpec, base: Base | None) -> list[str]:
    if base is None:
        return ["unknown: the base is missing, and no card describes it"]
    weights = sum(p.numel() for p in _whole(spec, base).denoiser.parameters())
    network = f"network: {weights / 1e6:,.1f} M parameters, {in_words(4 * weights)} in fp32"
    return [
        f"{network}, and the same again for every other checkpoint",
        *map(str, needs_of(spec, base)),
    ]
