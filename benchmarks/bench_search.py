"""search_cost, search_regret, pruning_saved_mean: the search of configs/digits.yaml, without and
with hopeless trials pruned, against the grid from 0.50 to 3.50 in steps of 0.05.

The four pairings with independent draws. Cost: network evaluations of the search, its probe
included, over those of the grid; the confirmation, which both need, is apart. Regret: FD at the
search's weight less FD at the grid's winner, both rescored on the same fresh seed sets, over the
standard deviation of FD over them. The worst pairing is quoted.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from study.cli.config import load_spec
from study.engine import schedule
from study.engine.check import evaluator_of
from study.engine.worker import Worker
from study.records.results import Results
from study.report.progress import Progress
from study.sampling import nfe
from study.specs import PairingSpec, SearchSpec, StudySpec


def searched(spec: StudySpec, root: Path) -> tuple[Worker, dict[PairingSpec, int]]:
    """A worker that has searched, and the network evaluations of each pairing: those kept with its
    evaluations."""
    with Progress() as progress:
        worker = Worker(evaluator_of(spec, root), root, progress)
        worker.work(schedule.searches)
    results = worker.results
    return worker, {pairing: evaluations(results, pairing) for pairing in spec.pairings}


def evaluations(results: Results, pairing: PairingSpec) -> int:
    """What a pairing's search would have cost by itself: pairings share mains and guides, which is
    not counted here."""
    spec = results.spec
    alone = spec.search.samples * nfe(spec.sampler)
    guided = sum(e.outcome.network_evaluations for e in results.searches[pairing])
    return guided + (2 if spec.search.method == "probe" else 1) * alone


def main() -> None:
    spec = load_spec(Path(__file__).parent.parent / "configs" / "digits.yaml")
    pairings = tuple(pairing for pairing in spec.pairings if pairing.coupling == "independent")
    spec = replace(spec, pairings=pairings, extractors=("digits",))
    grid = replace(spec, name="grid", search=SearchSpec("grid", samples=spec.search.samples))
    pruning = replace(spec, name="pruned", search=replace(spec.search, prune=True))
    cost, regret, pruned_cost, pruned_regret = {}, {}, {}, {}
    with tempfile.TemporaryDirectory() as root:
        ours, spent = searched(spec, Path(root))
        short, short_spent = searched(pruning, Path(root))
        theirs, all_spent = searched(grid, Path(root))

        def scores(worker: Worker, pairing: PairingSpec) -> tuple[float, list[float]]:
            """The weight that a search found, and its scores on the fresh seed sets."""
            best = worker.results.best_task(pairing)
            assert best is not None
            tasks = worker.results.confirmed(best)
            return best.weight, [ours.evaluator.outcome(t).scores[spec.metrics[0]] for t in tasks]

        for pairing in pairings:
            (at, winner), (w, found), (v, shorter) = (
                scores(each, pairing) for each in (theirs, ours, short)
            )
            cost[pairing] = spent[pairing] / all_spent[pairing]
            pruned_cost[pairing] = short_spent[pairing] / all_spent[pairing]
            sd = float(np.std(winner, ddof=1))
            regret[pairing] = float(np.mean(found) - np.mean(winner)) / sd
            pruned_regret[pairing] = float(np.mean(shorter) - np.mean(winner)) / sd
            print(
                f"{pairing.name}: grid w {at:g}; search w {w:g}, cost {cost[pairing]:.3f}, regret "
                f"{regret[pairing]:.2f}; pruned w {v:g}, cost {pruned_cost[pairing]:.3f}, regret "
                f"{pruned_regret[pairing]:.2f}",
                file=sys.stderr,
            )
    print(f"search_cost {max(cost.values()):.3f}")
    print(f"search_regret {max(regret.values()):.2f}")
    print(f"search_cost_pruned {max(pruned_cost.values()):.3f}")
    print(f"search_regret_pruned {max(pruned_regret.values()):.2f}")
    saved = [1 - pruned_cost[each] / cost[each] for each in pairings]
    print(f"pruning_saved_least {min(saved):.2f}")
    print(f"pruning_saved_mean {float(np.mean(saved)):.2f}")


if __name__ == "__main__":
    main()
