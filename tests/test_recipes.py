"""The recipes of docs/extending.md, each executed and checked by its formula."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

RECIPES = """
import re, sys, torch
import degradations.exports
text = open(sys.argv[1]).read()
for block in re.findall(r"^```python\\n(.*?)^```", text, re.S | re.M):
    made = {"__name__": "recipe"}
    exec(block, made)
    globals().update(made)
from degradations import Draws, InputNoise, Pair, parse, parse_rule
from study.models import ExactGaussian
from study.sampling import edm_sigmas
base, x = ExactGaussian(0.75), torch.randn(4, 2, dtype=torch.float64)
torch.testing.assert_close(parse("gain(0.1)")(base)(x, 1.0), 1.1 * base(x, 1.0))
pair = Pair(base, InputNoise(0.1), InputNoise(0.2), coupling="shared")
sigma = torch.tensor([0.1, 1.0, 2.0, 9.0])
assert str(parse_rule("damped(2)")) == "damped(2)"
main = pair.at(1.0)(x, sigma, None, Draws(0))
assert torch.equal(pair.at(1.0, "damped(2)")(x, sigma, None, Draws(0)), main)
plain = pair.at(2.0)(x, sigma, None, Draws(0))
share = ((sigma / (1 + sigma)) ** 2)[:, None]
damped = pair.at(2.0, "damped(2)")(x, sigma, None, Draws(0))
torch.testing.assert_close(damped - main, share * (plain - main))
solver, calls = Ralston(), []
def denoise(x, sigma):
    calls.append(sigma)
    return base(x, sigma)
sigmas = edm_sigmas(64, 0.002, 40.0).tolist()
y = start = 40.0 * x
for a, b in zip(sigmas, sigmas[1:]):
    y = solver.step(denoise, y, a, b)
assert calls == [sigma for _, sigma in solver.visits(sigmas)] and solver.nfe(64) == len(calls)
torch.testing.assert_close(y, start * 0.75 / (0.75**2 + 40.0**2) ** 0.5, rtol=1e-2, atol=1e-4)
from study.sampling import solver_of
assert solver_of("ralston").order == 2
import study.data
from study.data import load_data
from study.metrics import Tally, load_extractor, references, scores
digits, extractor = load_data("digits").samples, load_extractor("row_means")
found, tally = references(digits, [extractor]), Tally([extractor])
tally.fold(digits, 0)
found = scores(tally, found)
assert abs(found["fd_row_means"]) < 1e-9 and abs(found["spread_row_means"] - 1) < 1e-9
from study.training import objective_of
plain, edm, one = objective_of("plain"), objective_of("edm"), torch.ones(4)
noise = torch.randn(4, 2)
losses = [each.loss(base, 0 * noise, noise, one, sigma_data=0.5) for each in (plain, edm)]
torch.testing.assert_close(losses[0] / losses[1], torch.tensor(1 / (1 + 0.5**2)))
study.data.DATA["ring"] = ring
assert load_data("ring").shape == (2,) and load_data("ring").classes == 0
radius = load_data("ring").samples.norm(dim=1)
assert abs(radius.mean() - 0.7) < 4 * 0.05 / 64 and abs(radius.std() - 0.05) < 0.005
"""


def test_recipes_run() -> None:
    """In a process of their own, whose kinds and rules have no rows in the suites."""
    command = [sys.executable, "-c", RECIPES, str(DOCS / "extending.md")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
