"""Precision, recall, density and coverage against their definitions."""

import numpy as np
import pytest

from degradations import InputError
from study.metrics import kernel_distance, pair_scores, radii
from study.metrics.kernel import BLOCK, within


def normal(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (n, d)).astype(np.float32)


def neighbour_scores(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """All that is found of pairs, but for the kernel distance, which is what it is alone."""
    found = pair_scores(x, y, within(y), radii(y))
    assert found.pop("kd") == pytest.approx(kernel_distance(x, y), rel=1e-9, abs=1e-9)
    return found


def brute_force(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The papers' formulas, a pair at a time."""
    between = np.array([[np.linalg.norm(a.astype(float) - b) for b in y] for a in x])  # [n, m]

    def radius(points: np.ndarray, i: int, k: int) -> float:
        return sorted(
            np.linalg.norm(points[i].astype(float) - p) for j, p in enumerate(points) if j != i
        )[k - 1]

    x3 = np.array([radius(x, i, 3) for i in range(len(x))])
    y3, y5 = (np.array([radius(y, j, k) for j in range(len(y))]) for k in (3, 5))
    return {
        "precision": np.mean([any(between[i] <= y3) for i in range(len(x))]),
        "recall": np.mean([any(between[:, j] <= x3) for j in range(len(y))]),
        "density": np.mean([sum(between[i] <= y5) / 5 for i in range(len(x))]),
        "coverage": np.mean([min(between[:, j]) <= y5[j] for j in range(len(y))]),
    }


@pytest.mark.parametrize(
    ("n", "m", "d", "shift"), [(60, 80, 3, 0.5), (90, 40, 8, 0.3), (6, 6, 2, 0.0)]
)
def test_they_are_the_definitions(n: int, m: int, d: int, shift: float) -> None:
    x, y = normal(n, d, 1, shift), normal(m, d, 2)
    found, expected = neighbour_scores(x, y), brute_force(x, y)
    assert found == pytest.approx(expected, abs=1e-12)
    assert set(found) == set(expected)


def test_blocks_do_not_show() -> None:
    """Scores of more samples than a block holds are those of its parts put together."""
    x, y = normal(2 * BLOCK + 7, 4, 1, 0.5), normal(BLOCK + 3, 4, 2)
    found, expected = neighbour_scores(x, y), brute_force(x, y)
    assert found == pytest.approx(expected, abs=1e-12)
    assert all(0 < found[key] < 1 for key in ("precision", "recall", "coverage"))


def test_a_set_is_like_itself_and_unlike_what_is_far() -> None:
    y = normal(300, 5, 2)
    same, far = neighbour_scores(y.copy(), y), neighbour_scores(y + 100, y)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    assert 1 <= same["density"] <= 1.2  # itself, and the five that have it within reach, on average
    assert set(far.values()) == {0}


def test_one_good_mode_is_precise_and_recalls_half() -> None:
    """Data in two far clusters, samples of one: as good as the data's own there, and nothing of the
    other."""
    y = np.concatenate([normal(400, 2, 1), normal(400, 2, 2, shift=1000)])
    found, whole = (
        neighbour_scores(normal(400, 2, 3), y),
        neighbour_scores(normal(400, 2, 3), y[:400]),
    )
    assert found["precision"] == whole["precision"] > 0.85
    assert (found["recall"], found["coverage"]) == (whole["recall"] / 2, whole["coverage"] / 2)


def test_samples_of_one_point_recall_nothing() -> None:
    """A collapsed generator: precise and dense, without recall, and all finite."""
    y = normal(200, 3, 1)
    found = neighbour_scores(np.repeat(y[:1] + 0.01, 50, axis=0), y)
    assert found["precision"] == 1
    assert found["recall"] == 0
    assert 0 < found["coverage"] < 0.1


def test_radii_rise_and_leave_the_point_itself_out() -> None:
    line = np.arange(10.0)[:, None]
    np.testing.assert_allclose(radii(line)[0], [1, 2, 3, 4, 5])
    np.testing.assert_allclose(radii(line)[4], [1, 1, 2, 2, 3])


def test_too_few_and_other_features_are_rejected() -> None:
    six, five = normal(6, 2, 1), normal(5, 2, 1)
    with pytest.raises(InputError, match="at least 6"):
        radii(five)
    assert pair_scores(five, six, within(six), radii(six)).keys() == {"kd"}
    with pytest.raises(InputError, match="same d"):
        pair_scores(six[:1], six, within(six), radii(six))
    with pytest.raises(InputError, match="same d"):
        neighbour_scores(normal(6, 3, 1), six)
