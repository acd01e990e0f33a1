"""Where networks are evaluated."""

from functools import cache

import torch

from study.parallel.group import group


@cache
def device() -> torch.device:
    """The CPU, or the accelerator: of a machine with several, each process of a launched group has
    its own.

    From the first call on, products and convolutions of float32 are that on NVIDIA's GPUs too,
    which shorten them otherwise: what a table calls fp32 is. Set once for the whole process, for
    sampling and features run side by side.
    """
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None:
        return torch.device("cpu")
    # SLURM may show a process none but its own
    index = group().local % torch.accelerator.device_count()
    torch.accelerator.set_device_index(index)
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    return torch.device(found.type, index)
