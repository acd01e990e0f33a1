"""Everything that changes a score: two studies with equal fingerprints may share evaluations."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from degradations import Classifier
from study.checkpoints import Base
from study.checkpoints.denoiser_names import split
from study.data import Data
from study.evaluation import noise_levels
from study.files.plugins import LOADED
from study.metrics import Reference
from study.models.decoder import Decoder
from study.parallel.device import device
from study.specs import HELD_OUT, StudySpec
from study.specs.search import BY_MODEL

# The keys of `search` that change which weights are proposed, or what they are scored on.
SEARCH = ["method", "weight", "step", "samples", "screen"]
SEARCH += ["interval", "strength", "guides"]
# keys of `sampler` that earlier versions had not, with the values that they had
LATER = {"grid": "edm", "sigmas": ()}


def fingerprint(
    spec: StudySpec,
    base: Base,
    references: Mapping[str, Reference],
    decoder: Decoder | None,
    variant: Callable[[str], Base],
) -> dict[str, Any]:
    """Everything that determines the scores and proposals of a study, by key, as JSON values.

    variant: returns the base of a variant's name.
    """
    sampler = {k: each for k, each in vars(spec.sampler).items() if LATER.get(k) != each}
    found: dict[str, Any] = {f"sampler.{key}": each for key, each in sampler.items()}
    found |= {f"search.{key}": getattr(spec.search, key) for key in SEARCH}
    found |= {"search.over": spec.search.over} if spec.search.over else {}
    found |= {"search.design": spec.search.design} if spec.search.method in BY_MODEL else {}
    found |= {f"extractors.{name}": each.sha256 for name, each in references.items()}
    if spec.calibrate.by == "trajectory-error":
        found |= {f"probe.{key}": getattr(spec.probe, key) for key in ("levels", "draws")}
    variants = (split(name)[0] for name in spec.named)
    found |= {f"variant.{v}": variant(str(v)).sha256 for v in variants if v is not None}
    for name in (name for name in spec.named if f"{Classifier.kind}(" in name):
        own = split(name)[0]
        found[f"classifier.{name}"] = (variant(str(own)) if own else base).classifier_sha256
    # those of the config, by content, and those that are installed, by version
    plugins = sorted(d for name, d in LOADED.items() if name in spec.plugins or " " in d)
    found |= {"plugins": plugins} if plugins else {}
    found |= {"extractors": spec.extractors, "seed": spec.seed, "base": base.sha256}
    known = base.held_out if spec.reference == HELD_OUT else base.data
    is_own = spec.reference in (HELD_OUT, base.data.name)
    found["reference"] = _reference_sha256(known if is_own else None, references)
    found["device"] = device().type  # random numbers differ between device types
    limited = noise_levels.limited(spec.sampler, base)
    found |= {} if limited is None else {"sampler.levels": limited}
    found |= {"decoder": decoder.sha256} if decoder is not None else {}
    shared = (pairing for pairing in spec.pairings if pairing.coupling == "shared")
    if any("+" in pairing.main + pairing.guide for pairing in shared):
        # In earlier versions a guide with more draws than the main changed the main's draws.
        found["draws"] = "of the main alone"
    return {key: repr(each) if isinstance(each, float) else each for key, each in found.items()}


def _reference_sha256(data: Data | None, references: Mapping[str, Reference]) -> str:
    """The digest of the data that are the reference, or of its statistics if there are none."""
    if data is not None and len(data.samples):
        return data.sha256
    digest = hashlib.sha256()
    for reference in references.values():
        digest.update(reference.frechet.mean.tobytes() + reference.frechet.covariance.tobytes())
    return digest.hexdigest()
