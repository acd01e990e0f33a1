"""scoring_speedup, pixels_speedup: generated images scored by us and by clean-fid's path for a
generator.

2000 images of 64 × 64 (smooth colours and some noise, uint8, made beforehand, handed over in
batches of 100) and one TorchScript with Inception's interface and 2048 features of random weights,
of 75 million multiplications an image: a few milliseconds on a CPU, where Inception itself would
take so long that nothing else counted. None of its features is constant, for a covariance with
empty rows is a faster root. Pixels: from images to features by `cleanfid.fid.get_model_features`,
against `Tally.fold`, which also takes their moments; median of 3 ratios, measured in turns after a
batch each to warm up. Scoring: the last of these and the distance to statistics of 4000 other
images (of fewer than features the covariance would be singular, which references that are published
are not), by `cleanfid.fid.frechet_distance` with its moments, once; as in a study, which scores
many against one, the reference's root is known, or, with_root, not. Both distances must agree to
1e-3. Both sides use as many threads as PyTorch chooses.
"""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleanfid import fid
from timing import seconds
from torch import Tensor, nn

from study.files.atomic import sha256
from study.metrics import FrechetReference, Tally, load_extractor

N, SIDE, BATCH, D = 2000, 64, 100, 2048


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 7, 4),
            nn.ReLU(),
            nn.Conv2d(16, 64, 3, 2),
            nn.ReLU(),
            nn.Conv2d(64, 256, 3, 2),
            nn.ReLU(),
            nn.AvgPool2d(4),
            nn.Conv2d(256, D, 1),
            nn.SiLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean([2, 3])


class Script(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return self.layers((img - 128) / 128)


def images(seed: int, n: int = N) -> Tensor:
    """[n, 3, SIDE, SIDE], uint8; another seed has another balance of colours."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 6, 6, generator=generator) * torch.linspace(
        1, 0.7 + 0.1 * seed, 3
    ).view(3, 1, 1)
    smooth = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")
    return (
        ((smooth + 0.05 * torch.randn(n, 3, SIDE, SIDE, generator=generator)) * 255)
        .clamp(0, 255)
        .byte()
    )


def main() -> None:
    warnings.simplefilter("ignore")  # TorchScript and scipy's disp are deprecated
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.pt"
        torch.jit.script(Script()).save(str(file))
        card = {"kind": "extractor", "file": file.name, "sha256": sha256(file), "mode": "clean"}
        (Path(folder) / "net.json").write_text(json.dumps(card))
        extractor, script = (
            load_extractor(f"{folder}/net.json").eval(),
            torch.jit.load(str(file)).eval(),
        )
    real, made = images(1, 2 * N), images(2)
    found: dict[str, Any] = {}
    statistics = Tally([extractor])
    for first in range(0, 2 * N, BATCH):
        statistics.fold(real[first : first + BATCH], first)
    mean, covariance = statistics.moments["net"].mean, statistics.moments["net"].covariance

    def our_features(n: int = N) -> None:
        tally = Tally([extractor])
        for first in range(0, n, BATCH):
            tally.fold(made[first : first + BATCH], first)
        found["ours"] = tally.moments["net"]

    def their_features(n: int = N) -> None:
        batches = iter(torch.split(made, BATCH))
        found["theirs"] = fid.get_model_features(
            lambda z: next(batches),
            lambda x: script.layers((x - 128) / 128),
            "clean",
            num_gen=n,
            batch_size=BATCH,
            device=torch.device("cpu"),
            verbose=False,
        )

    reference = FrechetReference(mean, covariance)
    once = seconds(lambda: reference.root)

    def our_distance() -> None:
        found["our fd"] = reference.distance(found["ours"].mean, found["ours"].covariance)

    def their_distance() -> None:
        f = found["theirs"]
        found["their fd"] = fid.frechet_distance(
            np.mean(f, axis=0), np.cov(f, rowvar=False), mean, covariance
        )

    our_features(BATCH)
    their_features(BATCH)
    times = [(seconds(our_features), seconds(their_features)) for _ in range(3)]
    fast, slow = times[-1][0] + seconds(our_distance), times[-1][1] + seconds(their_distance)
    difference = abs(found["our fd"] / found["their fd"] - 1)
    assert difference < 1e-3, (found["our fd"], found["their fd"])
    print(f"scoring_speedup {slow / fast:.1f}")
    print(f"scoring_speedup_with_root {slow / (fast + once):.1f}")
    print(f"pixels_speedup {sorted(theirs / ours for ours, theirs in times)[1]:.2f}")
    print(f"scoring_relative_difference {difference:.1e}")


if __name__ == "__main__":
    main()
