"""Inception-v3 as the field's scripts call it: the TorchScript that NVIDIA publishes, in two modes."""

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from degradations import Refused
from study.files.cache import PublicFile
from study.metrics.resize import clean_resize

# Size and hash as crowsonkb/k-diffusion and several evaluations published on GitHub have them.
INCEPTION = PublicFile(
    "inception-2015-12-05.pt",
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    95_607_719,
    "Inception-v3 (2015) in TorchScript",
)
MODES = ("clean", "tf")


class Script(nn.Module):
    """Features [B, d] by a TorchScript with NVIDIA's interface, of images [B, 3, H, W] of 0…255.

    Mode `clean`: clean-fid's resizing, then the script's `layers` on (x − 128)/128 (Parmar et al. 2022). Mode `tf`: the
    script's own resizing, as TensorFlow's of 2015 had it, which the scores of EDM and EDM2 are by (Karras et al. 2022).
    """

    script: Any

    def __init__(self, script: nn.Module, mode: str) -> None:
        super().__init__()
        self.script, self.mode = script, mode

    def forward(self, images: Tensor) -> Tensor:
        if self.mode == "tf":
            features = self.script(images, return_features=True)
        else:
            features = self.script.layers((clean_resize(images) - 128) / 128)
        return features.flatten(1)  # of a script that keeps a side of 1


def load_script(path: Path, sha256: str, mode: str) -> Script:
    """A TorchScript of that hash. Raises Refused for another one: it is a program, and only the vouched for is run."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error}).") from None
    found = hashlib.sha256(content).hexdigest()  # of the very bytes that are run, whenever they are
    if found != sha256:
        raise Refused(f"{path}: SHA-256 {found}, {sha256} is wanted: it is a program, and only that one is run.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, but that is what is published
            script = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        for parameter in script.parameters():
            parameter.requires_grad_(False)
        if mode == "clean":
            _ = script.layers
    except (RuntimeError, AttributeError) as error:
        raise Refused(f"{path}: no TorchScript with a submodule `layers` ({str(error)[:200]}).") from None
    return Script(script, mode)
