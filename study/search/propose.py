"""Which weight to evaluate next."""

import hashlib
import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import FloatDistribution

from study.specs import SearchSpec


def propose(space: SearchSpec, done: Sequence[tuple[float, float | None]], seed: int) -> float | None:
    """The next weight, given the (weight, FD or None) of those that ended; None where every weight was tried.

    The design comes first, then a Gaussian process (expected improvement, without noise: seeds are common to all
    weights). The proposal is a function of its arguments alone, so an interrupted search goes on as if it had not been.
    """
    grid = weights(space)
    tried = {_snap(space, weight) for weight, _ in done}
    design = [w for w in dict.fromkeys(_snap(space, weight) for weight in space.design) if w not in tried]
    if design:
        return design[0]
    untried = [weight for weight in grid if weight not in tried]
    if not untried:
        return None
    proposal = _gaussian_process(space, [(w, fd) for w, fd in done if fd is not None], seed, len(done))
    return min(untried, key=lambda weight: (abs(weight - proposal), weight))


def weights(space: SearchSpec) -> list[float]:
    """All weights that a search may try."""
    low, high = space.weight
    return [round(low + i * space.step, 9) for i in range(int((high - low) / space.step + 1e-9) + 1)]


def _snap(space: SearchSpec, weight: float) -> float:
    return min(weights(space), key=lambda w: abs(w - weight))


def _gaussian_process(space: SearchSpec, done: Sequence[tuple[float, float]], seed: int, count: int) -> float:
    digest = hashlib.blake2b(f"{seed}|{count}".encode(), digest_size=4).digest()
    low = space.weight[0]
    distribution = FloatDistribution(low, weights(space)[-1], step=space.step)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.GPSampler(
            seed=int.from_bytes(digest, "little"), n_startup_trials=1, deterministic_objective=True
        )
    study = optuna.create_study(sampler=sampler, direction="minimize")
    for weight, fd in done:
        study.add_trial(
            optuna.create_trial(params={"weight": weight}, distributions={"weight": distribution}, value=fd)
        )
    return study.ask({"weight": distribution}).params["weight"]
