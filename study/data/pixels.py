"""Images of a data set as they are kept: uint8, usually in a file that is mapped into memory."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Pixels:
    """Images [N, C, H, W], of which those that are asked for become floats u/127.5 − 1 in [−1, 1].

    images: uint8 [M, C, H, W], or floats, which are not changed; rows: which of the M these are, in
    order; None: all. Stands where a tensor of samples does, without taking its memory.
    """

    def __init__(self, images: npt.NDArray[np.uint8], rows: Tensor | None = None) -> None:
        self.images, self.rows = images, rows

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self), *self.images.shape[1:]])

    def __len__(self) -> int:
        return len(self.images) if self.rows is None else len(self.rows)

    def __getitem__(self, which: "slice | Tensor | Sequence[int]") -> Tensor:
        """These images, [n, C, H, W], float32."""
        found = self.images[self._in_file(which)]
        if found.dtype != np.uint8:
            return torch.from_numpy(found.astype(np.float32))
        return torch.from_numpy(found.astype(np.float32)).div_(127.5).sub_(1)

    def only(self, rows: Tensor) -> "Pixels":
        """Some of these images, by their places, [n]."""
        return Pixels(self.images, rows if self.rows is None else self.rows[rows])

    def _in_file(self, which: "slice | Tensor | Sequence[int]") -> "slice | npt.NDArray[np.intp]":
        if self.rows is None:
            return which if isinstance(which, slice) else np.asarray(which)
        found = self.rows[which if isinstance(which, slice | Tensor) else torch.as_tensor(which)]
        return found.numpy()
