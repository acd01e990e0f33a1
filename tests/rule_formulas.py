"""The rows of the rules' conformance: their formulas, written out for one sample at a time."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Row(NamedTuple):
    """A rule's name, and its D of d1, d0, w, x and s = σ by the paper's formula.

    formula: for one sample, in terms of `NAMES` and lin = w·d1 + (1 − w)·d0. sigma: where the guide
    acts.
    """

    name: str
    formula: str
    sigma: float = 1.0


RULES = [
    Row("constant", "lin"),
    Row("interval(0.3, 5)", "lin"),
    Row("linear(10, 0.1)", "d1 + (w - 1) * 0.5 * (d1 - d0)"),
    Row("cosine(0.1, 10)", "d1 + (w - 1) * sin(pi / 8) ** 2 * (d1 - d0)", 10**-0.5),
    Row("power(10, 0.1, 2)", "d1 + (w - 1) * 0.25 * (d1 - d0)"),
    Row("exponential(10, 0.1, 3)", "d1 + (w - 1) * (e**1.5 - 1) / (e**3 - 1) * (d1 - d0)"),
    Row("bands(0.01, 1.5, 0.3, 0, 5, 1, 80)", "d1 + (w - 1) * 1.5 * (d1 - d0)", 0.1),
    Row("apg", "d1 + (w - 1) * across(d1 - d0, d1)"),
    Row(
        "apg(eta=0.5, norm=0.2, momentum=-0.5)",
        "d1 + (w - 1) * (across(short(d1 - d0, 0.2), d1) + 0.5 * part(short(d1 - d0, 0.2), d1))",
    ),
    Row("tcfg", "x - s * (w * eps(d1) + (1 - w) * first(eps(d1), eps(d0)))"),
    Row("cfg-zero", "(x - s * (w * u(d1) + (1 - w) * part(u(d1), u(d0)))) / (1 + s)"),
    Row("mambo-g(8)", "d1 + (w - 1) * e ** (-8 * size(u(d1) - u(d0)) / size(u(d0))) * (d1 - d0)"),
    Row("fdg(1, 0.5)", "d1 + (w - 1) * (d1 - d0 - 0.5 * low(d1 - d0))"),
    Row("rescale(0.7)", "0.7 * lin * sd(d1) / sd(lin) + 0.3 * lin"),
    Row("clip(1)", "limited(lin, 1)"),
    Row("dynamic(90)", "limited(lin, s90(lin)) / s90(lin)"),
    Row("interval(0.3, 5)+rescale(0.7)", "0.7 * lin * sd(d1) / sd(lin) + 0.3 * lin"),
    Row("linear(10, 0.1)+apg+clip(1)", "limited(d1 + (w - 1) / 2 * across(d1 - d0, d1), 1)"),
    # the first evaluation of a trajectory, where p = 1
    Row("feedback(0.9, 0.2, -0.02, 10)", "d1 + (w - 1) * (1 / 0.9 - 1) * (d1 - d0)"),
    Row("cfg-pp", "d0 + w * s / (s - s / 2) * (d1 - d0)"),
]


def by_formula(row: Row, d1: Tensor, d0: Tensor, w: float, x: Tensor) -> Tensor:
    """The formula of a row for each sample of a batch, in float64."""
    batch = zip(d1.double(), d0.double(), x.double(), strict=True)
    return torch.stack([_one(row, *sample, w) for sample in batch])


def _one(row: Row, d1: Tensor, d0: Tensor, x: Tensor, w: float) -> Tensor:
    s = row.sigma
    own: dict[str, Any] = {
        "d1": d1,
        "d0": d0,
        "x": x,
        "w": w,
        "s": s,
        "lin": w * d1 + (1 - w) * d0,
        "eps": lambda d: (x - d) / s,
        "u": lambda d: (x - d) / s - d,
    }
    found: Tensor = eval(row.formula, NAMES | own)
    return found


def _part(a: Tensor, b: Tensor) -> Tensor:
    return float((a * b).sum()) / float((b * b).sum()) * b


def _first(a: Tensor, b: Tensor) -> Tensor:
    """b along the first right singular vector of the two rows."""
    rows = torch.stack([a.flatten(), b.flatten()])
    v = torch.linalg.svd(rows, full_matrices=False).Vh[0]
    return (v * float(v @ rows[1])).reshape(b.shape)


def _low(a: Tensor) -> Tensor:
    """What a level of the pyramid keeps for the next, enlarged again: [C, H, W], 4×4 only."""

    def blurred(values: Tensor) -> Tensor:
        n, kernel = len(values), (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
        mirror = [abs(i) if i < n else 2 * (n - 1) - i for i in range(-2, n + 2)]
        rows = [[kernel[k] * values[mirror[i + k]] for k in range(5)] for i in range(n)]
        return torch.stack([torch.stack(row).sum(0) for row in rows])

    def halved(values: Tensor) -> Tensor:
        return (values[0::2] + values[1::2]) / 2

    def doubled(values: Tensor) -> Tensor:
        a, b = values
        return torch.stack([a, 0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b, b])

    def level(image: Tensor) -> Tensor:
        for act in (blurred, halved, doubled, blurred):
            image = act(act(image).T).T
        return image

    return torch.stack([level(plane) for plane in a])


NAMES: dict[str, Any] = {
    "e": math.e,
    "pi": math.pi,
    "sin": math.sin,
    "size": lambda a: float(a.norm()),
    "part": _part,
    "across": lambda a, b: a - _part(a, b),
    "short": lambda a, most: a * min(1.0, most / float(a.norm())),
    "first": _first,
    "low": _low,
    "sd": lambda a: float(a.std()),
    "limited": lambda a, most: a.clamp(-most, most),
    "s90": lambda a: max(1.0, float(torch.quantile(a.abs().flatten(), 0.9))),
}
