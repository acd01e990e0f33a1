"""What a study will take: files, evaluations, hours, disk and memory, told before anything is run."""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from study import plan
from study.bases import OWN, computing, untrained
from study.checkpoints import CACHE, Base, Variant, blank, find_statistics, is_public, public_cards
from study.checkpoints.names import split
from study.checkpoints.published import is_published
from study.data import DATA
from study.files.cache import PublicFile, present
from study.metrics import files_of
from study.metrics.reference import DIMENSIONS
from study.metrics.tally import GROUPS, KEPT
from study.modules import noise_levels
from study.modules.device import device
from study.modules.evaluate import VAE
from study.modules.group import group
from study.modules.score_files import references_of, statistics_files
from study.specs import StudySpec

FEATURES = {**DIMENSIONS, "rff": 256, "digits": 64}
TIMED = 10**11, 10**13  # about so many operations are timed, on a CPU and on an accelerator: a second at most


@dataclass(frozen=True)
class Needed:
    """A file or folder of others that a study reads; missing: how to have it, where it is not there."""

    what: str
    path: Path
    missing: str = ""

    def __str__(self) -> str:
        if self.missing:
            return f"missing  {self.what}: {self.path}\n           {self.missing}"
        return f"present  {self.what}: {self.path}"


def estimate(spec: StudySpec, root: Path) -> str:
    """What a study will take on this device, without running it; nothing is downloaded, trained or written.

    An evaluation of the network is timed, with random weights where its file is not there. Raises Refused for a config
    that would be refused whatever is in the files.
    """
    base, count = _base(spec, root), plan.count(spec, at_most=True)
    pairings = [pairing.name for pairing in spec.pairings]
    if spec.matrix is not None:
        pairings.append("and those of the matrix, which are not counted below")
    evaluations = [
        f"{count.evaluations:,} at most, of {count.samples:,} samples and {count.passes * spec.nfe:,} network "
        "evaluations together",
        f"search ({spec.search.method}): {spec.search.samples:,} samples each; confirmation: {spec.confirm.seed_sets} "
        f"seed sets of {spec.confirm.samples:,}; {spec.nfe} evaluations a sample of a single denoiser",
    ]
    if spec.search.method == "probe":
        evaluations.append(
            f"endpoint probe: {len(spec.search.weights)} mixtures of {spec.search.samples:,} samples a pairing are "
            "scored too, without the network (search.method gp does without)"
        )
    if base is not None and (limited := noise_levels.limited(spec.sampler, base)) is not None:
        evaluations.append(
            f"noise levels {limited}, in place of the sampler's {spec.sampler.sigma_max:g} to "
            f"{spec.sampler.sigma_min:g}, for which {base.name} was not made"
        )
    parts = {
        "Files": [str(each) for each in _files(spec, root)] or ["none beside those that ship"],
        "Published": _published(spec) or ["nothing of this base"],
        "Pairings": pairings,
        "Evaluations": evaluations,
        "Time": _time(spec, base, count),
        "Disk": _disk(spec, base),
        "Memory": _memory(spec, base),
    }
    return "\n".join(line for name, lines in parts.items() for line in [name, *(f"  {each}" for each in lines)])


def _files(spec: StudySpec, root: Path) -> Iterator[Needed]:
    """Every file of others that a study reads."""
    variants = [split(name)[0] for name in spec.named]
    found = [_origin(OWN, spec), *(_origin(str(each), spec) for each in variants if each is not None)]
    origins = list(dict.fromkeys(name for name in found if name is not None))
    for name in origins:
        if name in public_cards():
            card = public_cards()[name]
            with torch.device("meta"):  # without memory
                parameters = sum(p.numel() for p in blank(name).denoiser.parameters())
            size = f", about {2 * parameters / 1e9:.2f} GB" if card.file.size is None else ""
            yield _public(card.file, root, f"{size}, {card.licence}")
        elif _elsewhere(name):
            yield _place(f"checkpoint {name}", name, root)
    for extractor in spec.extractors:
        if extractor.endswith(".json"):
            yield _place(f"extractor {extractor}", extractor, root)
        for file in files_of(extractor):
            yield _public(file, root)
    if find_statistics(spec.reference) is not None:
        for file in dict.fromkeys(statistics_files(spec.reference, spec.extractors).values()):
            yield _public(file, root)
    elif spec.reference not in DATA:
        if not Path(spec.reference).suffix and "/" not in spec.reference and not Path(spec.reference).exists():
            references_of(spec.reference, (), root)  # which refuses it, and says what there is
        yield _place(f"reference {spec.reference}", spec.reference, root)
    if spec.decoder is not None or any(name in public_cards() and public_cards()[name].latents for name in origins):
        yield _place("decoder of latents", spec.decoder or VAE, root)


def _published(spec: StudySpec) -> list[str]:
    """What was published of the base's checkpoint, alone and guided."""
    name = _origin(OWN, spec)
    if name is None or name not in public_cards():
        return []
    card = public_cards()[name]
    alone = {"FID": card.fid, "FD-DINOv2": card.fd_dinov2}
    found = [f"{card.paper}; EMA {card.ema}, {card.kimg} thousand images" if card.ema else card.paper]
    found += [
        f"{metric} {value} alone{f' ({card.note})' if card.note else ''}" for metric, value in alone.items() if value
    ]
    for each in card.guided:
        metric = f"FID {each['fid']}" if "fid" in each else f"FD-DINOv2 {each['fd_dinov2']}"
        found.append(f"{metric} guided by {each['guide']} at w = {each['weight']}")
    return found


def _origin(name: str, spec: StudySpec) -> str | None:
    """The card, folder or file that a name in the study is made of; None where it is trained by the recipe."""
    base = Variant.parse(name).base
    if base != OWN:
        return base
    return None if spec.base is None else Variant.parse(spec.base).base


def _elsewhere(name: str) -> bool:
    """Whether a name is of files that do not ship, whether or not they are there."""
    return is_public(name) or is_published(Path(name)) or "/" in name


def _public(file: PublicFile, root: Path, about: str = "") -> Needed:
    size = f", {file.size / 1e9:.2f} GB" if file.size else ""
    digest = file.sha256 or "none is published, that of its first use is kept"
    how = f"from {file.address}{size}{about}; SHA-256: {digest}"
    return Needed(file.card, root / CACHE / file.name, "" if present(file, root / CACHE) else how)


def _place(what: str, place: str, root: Path) -> Needed:
    hub = place.startswith("hub:")
    path = root / CACHE / place.removeprefix("hub:") if hub else Path(place)
    how = f"from the Hugging Face hub, repository {place.removeprefix('hub:')}" if hub else "no such file or folder"
    return Needed(what, path, "" if path.exists() else how)


def _base(spec: StudySpec, root: Path) -> Base | None:
    """The base, of a public card with random weights; None where files are missing and no card says what it is."""
    name = _origin(OWN, spec)
    if name is not None and name in public_cards():
        return blank(name)
    if name is not None and _elsewhere(name) and _place("", name, root).missing:
        return None
    return untrained(spec, root=root)


@torch.inference_mode()
def _time(spec: StudySpec, base: Base | None, count: plan.Count) -> list[str]:
    if base is None:
        return ["unknown: the base is not there, and no card says what it is"]
    where, flop = device(), _flop(base)
    samples = int(min(max(1, TIMED[where.type != "cpu"] // flop), spec.sampler.chunk))
    base = computing(spec.precision, base)
    denoiser = base.denoiser.to(where)
    x = torch.randn(samples, *base.data.shape, device=where)
    label = torch.zeros(samples, dtype=torch.long, device=where) if base.data.classes else None
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        denoiser(x, 1.0, label).sum().item()  # which waits for an accelerator
        seconds.append(time.perf_counter() - began)
    each = min(seconds) / samples
    name = torch.cuda.get_device_name() if where.type == "cuda" else f"{where.type}, {torch.get_num_threads()} threads"
    total, beside = count.passes * spec.nfe, ", decoding" if base.latents or base.decoder else ""
    return [
        f"{each * total / group().world / 3600:,.3g} hours on {name}: {1000 * each:,.3g} ms a network evaluation of a "
        f"sample, {base.precision}, measured on {samples}",
        f"{flop * total / 1e14 / 3600:,.3g} hours on a device that does 100 TFLOP/s: {flop / 1e9:,.3g} GFLOP a network "
        "evaluation",
        f"features{beside} and degradations are not counted",
    ]


def _flop(base: Base) -> int:
    """Floating-point operations of a network evaluation of one sample, a multiplication and an addition being two."""
    from torch.utils.flop_counter import FlopCounterMode

    denoiser = copy.deepcopy(base.denoiser).to("meta")
    label = torch.zeros(1, dtype=torch.long, device="meta") if base.data.classes else None
    with FlopCounterMode(display=False) as counter:
        denoiser(torch.zeros(1, *base.data.shape, device="meta"), 1.0, label)
    return int(counter.get_total_flops())


def _disk(spec: StudySpec, base: Base | None) -> list[str]:
    statistics = sum(2 * 8 * _features(name, base) ** 2 for name in spec.extractors)  # kept in the report and in MLflow
    shown = 5e6 + 5e5 * len(spec.pairings) + statistics
    return [
        f"about {shown / 1e6:.0f} MB of tables, figures, statistics and databases, beside the files; no images are kept"
    ]


def _features(extractor: str, base: Base | None) -> int:
    """The number of features of an extractor; that of Inception where only its card knows."""
    if extractor == "pixels" and base is not None:
        return torch.Size(base.data.shape).numel()
    return FEATURES.get(extractor, 2048)


def _memory(spec: StudySpec, base: Base | None) -> list[str]:
    found = []
    if base is not None:
        weights = sum(p.numel() for p in base.denoiser.parameters())
        found.append(f"network: {weights / 1e6:,.1f} M parameters, {4 * weights / 1e9:.2f} GB in fp32, as much again "
                     "for every other checkpoint")  # fmt: skip
        if spec.search.method == "probe":
            kept = 2 * spec.search.samples * 4 * torch.Size(base.data.shape).numel()
            found.append(f"endpoint probe: the samples of main and guide, {kept / 1e9:.2f} GB")
    for name in spec.extractors:
        d = _features(name, base)
        found.append(f"moments of {name}: {8 * d * d * GROUPS / 1e9:.2f} GB, kept features: {4 * d * KEPT / 1e9:.2f} "
                     "GB, whatever the number of samples")  # fmt: skip
    return found
