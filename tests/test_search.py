from pathlib import Path

import numpy as np
import pytest

from degradations import Failed, Refused
from study.records import Task
from study.search import Notebook, check_fingerprint, existing_storage, forget, names, open_storage, propose, weights
from study.specs import SearchSpec

SPACE = SearchSpec()
TASK = Task.alone("none", 0, 100, 8)


def search(f, trials: int, space: SearchSpec = SPACE, seed: int = 0) -> list[tuple[float, float]]:  # type: ignore[no-untyped-def]
    done: list[tuple[float, float]] = []
    for _ in range(trials):
        weight = propose(space, done, seed)
        assert weight is not None
        done.append((weight, f(weight)))
    return done


def test_the_design_comes_first() -> None:
    assert [w for w, _ in search(lambda w: w, 4)] == [1.0, 1.5, 2.0, 2.5]


@pytest.mark.parametrize("best", [1.35, 1.75, 2.1, 2.9])
def test_six_evaluations_find_the_least_of_a_smooth_curve(best: float) -> None:
    done = search(lambda w: 1 + (w - best) ** 2 + 0.2 * (w - best) ** 3, 6)
    assert min(done, key=lambda each: each[1])[0] == pytest.approx(best, abs=0.15)


def test_a_proposal_depends_on_its_arguments_alone() -> None:
    done = search(lambda w: (w - 1.8) ** 2, 6)
    np.random.seed(1)
    assert propose(SPACE, done, 0) == propose(SPACE, done, 0)
    assert search(lambda w: (w - 1.8) ** 2, 6) == done


def test_no_weight_is_tried_twice_and_the_grid_ends() -> None:
    space = SearchSpec(weight=(1.0, 1.5), step=0.1, design=(1.0, 1.02))
    done = search(lambda w: w, 6, space)
    assert sorted(w for w, _ in done) == pytest.approx([1, 1.1, 1.2, 1.3, 1.4, 1.5])
    assert propose(space, done, 0) is None


def test_failed_weights_are_not_tried_again() -> None:
    done: list[tuple[float, float | None]] = [(1.0, 1.0), (1.5, None), (2.0, 2.0), (2.5, None)]
    weight = propose(SPACE, done, 0)
    assert weight is not None
    assert weight not in (1.0, 1.5, 2.0, 2.5)


def test_the_paper_s_grid_has_51_weights() -> None:
    grid = weights(SPACE)
    assert (len(grid), grid[0], grid[1], grid[-1]) == (51, 1.0, 1.05, 3.5)


def test_notebook_keeps_finished_and_failed_evaluations(tmp_path: Path) -> None:
    notebook = Notebook(open_storage(tmp_path), "a/confirm")
    with notebook.claim(TASK, "fd") as scores:
        scores["fd"] = 1.25
    other = Task.alone("none", 1, 100, 8)
    with notebook.claim(other, "fd"):
        raise Failed("not finite")
    again = Notebook(existing_storage(tmp_path), "a/confirm")
    assert [e.scores for e in again.evaluations()] == [{"fd": 1.25}, {}]
    found = again.find(TASK)
    assert found is not None
    assert found.scores == {"fd": 1.25}
    failed = again.find(other)
    assert failed is not None
    assert failed.reason == "not finite"
    assert again.find(Task.alone("none", 2, 100, 8)) is None


def test_an_interrupted_evaluation_counts_for_nothing(tmp_path: Path) -> None:
    notebook = Notebook(open_storage(tmp_path), "a/confirm")
    with pytest.raises(KeyboardInterrupt), notebook.claim(TASK, "fd"):
        raise KeyboardInterrupt
    assert notebook.evaluations() == []
    assert notebook.release_lost() == 0


def test_trials_of_dead_processes_are_released(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import os, sys; from pathlib import Path; from study.search import *; from tests.test_search import TASK\n"
        "n = Notebook(open_storage(Path(sys.argv[1])), 'a/confirm')\n"
        "with n.claim(TASK, 'fd'): os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -9
    notebook = Notebook(open_storage(tmp_path), "a/confirm")
    with notebook.claim(Task.alone("none", 1, 100, 8), "fd") as scores:
        assert notebook.release_lost() == 1  # the dead one, not the one of this process
        scores["fd"] = 2.0
    assert [e.scores for e in notebook.evaluations()] == [{"fd": 2.0}]


def test_a_changed_study_is_refused_by_key(tmp_path: Path) -> None:
    notebook = Notebook(open_storage(tmp_path), "a/confirm")
    check_fingerprint(notebook, {"sampler.steps": 8, "seed": 0})
    check_fingerprint(notebook, {"seed": 0, "sampler.steps": 8})
    with pytest.raises(Refused, match=r"sampler.steps: 8 then, 16 now") as refused:
        check_fingerprint(notebook, {"sampler.steps": 16, "seed": 0})
    assert "seed" not in str(refused.value).split("\n")[1]


def test_forgetting_leaves_other_studies(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    for name in ("a/confirm", "a/x", "ab/confirm"):
        Notebook(storage, name)
    forget(storage, "a")
    assert names(storage) == ["ab/confirm"]


def test_reading_does_not_make_a_database(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no studies here"):
        existing_storage(tmp_path)
    assert list(tmp_path.iterdir()) == []
