"""search_cost, search_regret: the search of configs/digits.yaml against the grid from 1.00 to 3.50
in steps of 0.05.

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
    worker = Worker(evaluator_of(spec, root), root)
    with Progress() as progress:
        worker.work(schedule.searches, progress)
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
    cost, regret = {}, {}
    with tempfile.TemporaryDirectory() as root:
        ours, spent = searched(spec, Path(root))
        theirs, all_spent = searched(grid, Path(root))
        for pairing in pairings:
            cost[pairing] = spent[pairing] / all_spent[pairing]
            ends = [ours.results.best_task(pairing), theirs.results.best_task(pairing)]
            found, winner = (
                [
                    ours.evaluator.outcome(task).scores[ours.metric]
                    for task in ours.results.confirmed(end)
                ]
                for end in ends
                if end is not None
            )
            regret[pairing] = float(np.mean(found) - np.mean(winner)) / float(
                np.std(winner, ddof=1)
            )
            weights = " and ".join(f"{end.weight:g}" for end in ends if end is not None)
            print(
                f"{pairing.name}: w {weights} (grid), cost {cost[pairing]:.3f}, regret "
                f"{regret[pairing]:.2f}",
                file=sys.stderr,
            )
    print(f"search_cost {max(cost.values()):.3f}")
    print(f"search_regret {max(regret.values()):.2f}")


if __name__ == "__main__":
    main()
