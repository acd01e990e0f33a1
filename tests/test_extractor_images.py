"""What an extractor makes of images before its network sees them, and how images are read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from degradations import InputError, RunError
from study.files.images import batches, to_uint8
from study.metrics import Tally
from study.metrics.images import Images
from tests.extractor_files import BYTES

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:Matrix is singular"
)


class Means(nn.Module):
    """What comes to a network: the mean of each channel, [b, 3]; it remembers the images."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return images.mean([2, 3])


class TestImages:
    def test_all_256_values_come_back_from_floats(self, tmp_path: Path) -> None:
        values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
        network = Means()
        Images("means", "", network)(values.float() / 127.5 - 1)
        assert torch.equal(network.seen[0], values.float().expand(1, 3, 16, 16))
        np.savez(tmp_path / "x.npz", values.view(1, 16, 16).numpy())  # through a file as well
        (read,) = batches(tmp_path / "x.npz")
        assert np.array_equal(to_uint8(read)[..., 0], values.view(1, 16, 16).numpy())

    def test_floats_are_clipped_and_truncated(self) -> None:
        network = Means()
        Images("means", "", network)(
            torch.tensor([-9.0, -1.0, 0.0, 0.0039, 0.9999, 1.0, 9.0]).view(7, 1, 1, 1)
        )
        assert network.seen[0][:, 0, 0, 0].tolist() == [0, 0, 128, 128, 255, 255, 255]

    def test_a_few_at_a_time(self) -> None:
        network, x = Means(), torch.from_numpy(BYTES).permute(0, 3, 1, 2)
        found = Images("means", "", network)(x)
        assert [len(images) for images in network.seen] == [16, 16, 8]
        torch.testing.assert_close(found, x.float().mean([2, 3]))

    def test_an_image_that_is_not_finite_fails(self) -> None:
        x = torch.zeros(3, 1, 4, 4)
        x[1, 0, 2, 2] = torch.nan
        found = Images("means", "", Means())(x)
        assert found.isfinite().all(1).tolist() == [True, False, True]
        with pytest.raises(RunError, match="1 of 3"):
            Tally([Images("means", "", Means())]).fold(x, 0)

    @pytest.mark.parametrize(
        "x", [torch.zeros(2, 4, 8, 8), torch.zeros(2, 8), torch.zeros(2, 3, 8, 8, dtype=torch.int)]
    )
    def test_what_is_no_image_is_rejected(self, x: Tensor) -> None:
        with pytest.raises(InputError, match="'means': found samples"):
            Images("means", "", Means())(x)


def test_batches_of_large_images_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from study.files import images

    monkeypatch.setattr(images, "MOST_TOGETHER", 3 * BYTES[0].nbytes)
    for index, image in enumerate(BYTES):
        Image.fromarray(image).save(tmp_path / f"{index:02}.png")
    found = list(batches(tmp_path))
    assert [len(batch) for batch in found] == [3] * 13 + [1]
    # decoded by several threads, and in order
    assert np.array_equal(to_uint8(torch.cat(found)), BYTES)
    np.savez(tmp_path / "x.npz", BYTES)
    assert [len(batch) for batch in batches(tmp_path / "x.npz")] == [3] * 13 + [1]
