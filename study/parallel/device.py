"""The device on which networks are evaluated."""

from functools import cache

import torch

from study.parallel.group import group


@cache
def device() -> torch.device:
    """The accelerator of this process, or the CPU if there is none.

    On a machine with several accelerators, each process of a launched group has its own. The first
    call makes float32 products and convolutions use full float32 on NVIDIA GPUs, which shorten them
    by default, so that what a table calls fp32 is fp32. It is set once for the whole process, since
    sampling and features run side by side.
    """
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None:
        return torch.device("cpu")
    # SLURM may show a process only its own accelerator
    index = group().local % torch.accelerator.device_count()
    torch.accelerator.set_device_index(index)
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    return torch.device(found.type, index)
