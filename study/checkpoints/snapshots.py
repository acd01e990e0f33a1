"""Snapshots: averages of weights at several steps, from which averages of other widths are made."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from degradations import InputError
from study.checkpoints.weights import plain, read

SNAPSHOTS = "snapshots"
# Averages of three widths at the powers of two give those of all widths from 0.04 to 0.24, at each
# such step and at the end, to 5 % of their profile; the first two suffice for 0.045 to 0.11.
WIDTHS = (0.05, 0.1, 0.2)
LEAST_WIDTH, MOST_WIDTH = 0.04, 0.24


def is_kept(step: int, steps: int) -> bool:
    """Whether a run of `steps` steps keeps a snapshot at a step.

    It does at powers of two and at its end.
    """
    return 0 < step <= steps and (step & (step - 1) == 0 or step == steps)


def kept_up_to(step: int) -> list[int]:
    """The steps whose snapshots make that of a step: the powers of two before it, and itself."""
    return [2**i for i in range((step - 1).bit_length())] + [step]


def snapshot_path(folder: Path, step: int, width: float) -> Path:
    """The file of a snapshot; names sort by step and width."""
    return folder / SNAPSHOTS / f"{step:09d}-{width:.2f}.safetensors"


def blend(module: nn.Module, parts: Mapping[Path, float]) -> str:
    """Load a weighted sum of the weights in files into a module, and return its SHA-256.

    parts: the coefficient of each file. The module is switched to evaluation; the hash is that of
    the sum as it would be written. Raises InputError if files are missing, damaged, of another
    network, or not finite.
    """
    total = {
        name: torch.zeros_like(tensor, dtype=torch.float64)
        for name, tensor in module.state_dict().items()
    }
    for path, coefficient in parts.items():
        if not path.is_file():
            raise InputError(f"{path}: missing; remove {path.parent.parent} to train it again.")
        for name, tensor in read(path, module).items():
            total[name] += coefficient * tensor.double()
    module.load_state_dict(total)
    module.eval().requires_grad_(False)
    return hashlib.sha256(save(plain(module))).hexdigest()
