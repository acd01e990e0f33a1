"""Inception-v3 as the usual scripts call it: the TorchScript that NVIDIA publishes, in two modes.

Mode `clean` could be clean-fid's own code: `cleanfid.inception_torchscript.InceptionV3W` behind the
resizer of `cleanfid.resize.build_resizer("clean")`. Ours is used because it is faster and gives the
same features. Features of 64 × 64 images take half the time on a CPU (`pixels_speedup` 2.0: `python
benchmarks/bench_scoring.py`), and everything stays on an accelerator, whereas clean-fid resizes
each image on the CPU. Resized pixels of 0…255 agree to 6e-5, features to the rounding of float32
(`pytest tests/test_inception.py -k clean_fid`). clean-fid also reads its weights, unchecked, from a
fixed name in the temporary folder. `--verify` computes a score by clean-fid itself
(`clean_fid.py`).
"""

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from degradations import InputError
from study.files.cache import PublicFile
from study.files.regular import check_regular, seems
from study.metrics.images import Images
from study.metrics.resize import clean_resize

# Size and hash as in crowsonkb/k-diffusion and several evaluations published on GitHub.
INCEPTION = PublicFile(
    "inception-2015-12-05.pt",
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    95_607_719,
    "Inception-v3 (2015) in TorchScript",
)
MODES = ("clean", "tf")
MOST_BYTES = 2**32


class Script(nn.Module):
    """Features [B, d] of images [B, 3, H, W] of 0…255, by a TorchScript with NVIDIA's interface.

    Mode `clean`: clean-fid's resizing, then the script's `layers` on (x − 128)/128 (Parmar et al.
    2022). Mode `tf`: the script's own resizing, that of TensorFlow in 2015, used by the scores of
    EDM and EDM2 (Karras et al. 2022).
    """

    script: Any

    def __init__(self, script: nn.Module, mode: str, path: Path, sha256: str) -> None:
        super().__init__()
        self.script, self.mode, self.path, self.sha256 = script, mode, path, sha256

    def forward(self, images: Tensor) -> Tensor:
        if self.mode == "tf":
            features = self.script(images, return_features=True)
        else:
            features = self.script.layers((clean_resize(images) - 128) / 128)
        return features.flatten(1)  # for scripts that keep sides of 1


def load_script(path: Path, sha256: str, mode: str) -> Script:
    """A TorchScript with this hash.

    Raises InputError if its hash is another: it is a program, and only a trusted one is run.
    """
    content = read_script(path, sha256)
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated, but that is what is published
            warnings.simplefilter("ignore", FutureWarning)
            script = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except Exception:  # whose texts are about PyTorch's internals
        raise InputError(
            f"{path}: found {seems(path)}; accepted: a TorchScript that can be loaded."
        ) from None
    _check_interface(path, script, mode)
    for parameter in script.parameters():
        parameter.requires_grad_(False)
    return Script(script, mode, path, sha256)


def read_script(path: Path, sha256: str) -> bytes:
    """The bytes of a file with this hash, for a caller that runs these very bytes.

    Raises InputError if the hash is another.
    """
    check_regular(path, MOST_BYTES)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(
            f"{path}: found SHA-256 {found}; accepted: {sha256}, since it is a program, and only "
            "that one is run."
        )
    return content


def _check_interface(path: Path, script: Any, mode: str) -> None:
    """Raises InputError if a TorchScript cannot be called as `Script` calls it."""
    if mode == "clean":
        good = isinstance(getattr(script, "layers", None), nn.Module) and _gives_tensor(
            script.layers
        )
        called = "a submodule `layers` whose output is a tensor"
    else:
        good = _gives_tensor(script) and "return_features" in (
            each.name for each in script.forward.schema.arguments
        )
        called = "a method `forward(images, return_features)` whose output is a tensor"
    if not good:
        raise InputError(f"{path}: a TorchScript without {called}, which mode '{mode}' calls.")


def _gives_tensor(script: Any) -> bool:
    return [str(each.type) for each in script.forward.schema.returns] == ["Tensor"]


class Inception(Images):
    """Inception-v3's 2048 pool features, resized as clean-fid does: those of FID, mode clean.

    (Parmar et al. 2022)
    """

    name = "inception"
    file: ClassVar[PublicFile | None] = INCEPTION
    dimensions: ClassVar[int | None] = 2048

    @classmethod
    def network_of(cls, path: Path, sha256: str) -> nn.Module:
        return load_script(path, sha256, "clean")


class InceptionTF(Images):
    """Inception-v3's 2048 pool features, resized as in TensorFlow: those of FID in most papers.

    (Karras et al. 2022)
    """

    name = "inception_tf"
    file: ClassVar[PublicFile | None] = INCEPTION
    dimensions: ClassVar[int | None] = 2048

    @classmethod
    def network_of(cls, path: Path, sha256: str) -> nn.Module:
        return load_script(path, sha256, "tf")
