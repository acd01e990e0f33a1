"""The next evaluation of a search, as a function of the known ones, so that it can be resumed."""

import hashlib

import optuna

from study.records.results import Results
from study.records.task import Task
from study.sampling import nfe
from study.search.samplers import Scored, ask, next_weight
from study.search.space import distributions, parameters, with_parameters
from study.specs import PairingSpec


def propose(results: Results, pairing: PairingSpec, screen: bool = True) -> Task | None:
    """The next evaluation of a pairing's search, or None if it has ended.

    For the method 'probe' the endpoint probe must be in `results.shared`.
    """
    spec, done = results.spec.search, results.searches[pairing]
    if len(done) >= spec.trials and spec.method != "grid":
        return None
    if spec.method == "grid":
        tried = {e.task.weight for e in done}
        left = [weight for weight in spec.weights if weight not in tried]
        return results.searched(pairing, left[0]) if left else None
    task = (
        _around_the_probe(results, pairing, screen)
        if spec.method == "probe"
        else _by_sampler(results, pairing)
    )
    return task if task is not None and _affordable(results, pairing, task) else None


def spent(results: Results, pairing: PairingSpec) -> int:
    """Network evaluations per sample (NFE) that a pairing's search has made.

    These are main alone, for the method 'probe' guide alone, and guided sampling, as many as were
    made of main and guide.
    """
    whole = nfe(results.spec.sampler)
    guided = [e for e in results.searches[pairing] if e.task.weight != 1]
    made = (e.outcome.network_evaluations // e.task.samples or 2 * whole for e in guided)
    return whole * (2 if results.spec.search.method == "probe" else 1) + sum(made)


def _affordable(results: Results, pairing: PairingSpec, task: Task) -> bool:
    budget = results.spec.search.budget
    more = 0 if task.weight == 1 else 2 * nfe(results.spec.sampler)
    return budget is None or spent(results, pairing) + more <= budget


def _around_the_probe(results: Results, pairing: PairingSpec, screen: bool) -> Task | None:
    """The next weight around the one that the endpoint probe predicts, as `ProbeSampler`."""
    metric, curve = results.primary, dict[float, Scored | None]()
    for e in results.searches[pairing]:
        known = metric in e.scores
        curve[e.task.weight] = Scored(e.scores[metric], e.replicates(metric)) if known else None
    probe = results.shared[results.endpoints(pairing)].scores
    predicted = probe.get(f"endpoint_weight_{metric}", 1.0)
    weight = next_weight(curve, results.spec.search, predicted, screen)
    return None if weight is None else results.searched(pairing, weight)


def _by_sampler(results: Results, pairing: PairingSpec) -> Task | None:
    """The design's weights, then what the method's sampler of Optuna proposes.

    Its seed follows from the study's and the number of completed trials.
    """
    spec, done = results.spec.search, results.searches[pairing]
    tried = {e.task for e in done}
    design = [results.searched(pairing, spec.snap(weight)) for weight in spec.design]
    left = [task for task in dict.fromkeys(design) if task not in tried]
    if left:
        return left[0]
    if not spec.more and {e.task.weight for e in done} >= set(spec.weights):
        return None
    digest = hashlib.blake2b(f"{results.spec.seed}|{len(done)}".encode(), digest_size=4).digest()
    space, metric = distributions(spec, pairing), results.primary
    trials = [
        optuna.create_trial(
            params=parameters(spec, pairing, e.task), distributions=space, value=e.scores[metric]
        )
        for e in done
        if metric in e.scores
    ]
    proposal = ask(spec.method, int.from_bytes(digest, "little"), space, trials)
    near = sorted(spec.weights, key=lambda weight: (abs(weight - proposal["weight"]), weight))
    tasks = (_task(results, pairing, {**proposal, "weight": weight}) for weight in near)
    return next((task for task in tasks if task not in tried), None)


def _task(results: Results, pairing: PairingSpec, params: dict[str, float | str]) -> Task:
    """The task of parameters; at weight 1 it is the main alone, whatever the others are."""
    search = results.spec.search
    task = results.searched(pairing, search.snap(float(params["weight"])))
    return task if task.weight == 1 else with_parameters(search, pairing, task, params)
