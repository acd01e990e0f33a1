import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from degradations import InputError
from study.evaluation.score_files import write_reference
from study.metrics import Extractor, Pixels, Reference, Tally, load_extractor, references, scores
from study.metrics.reference import stream_references

IMAGES = torch.rand(50, 1, 6, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Named(Extractor):
    """An extractor that is called what it is told to be."""

    def __init__(self, name: str, sha256: str = "s") -> None:
        super().__init__()
        self.name, self.sha256 = name, sha256

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def moments(d: int) -> dict[str, Any]:
    f = np.random.default_rng(0).normal(size=(30, d))
    return {"mu": f.mean(0), "sigma": np.cov(f, rowvar=False)}


@pytest.fixture(scope="module")
def large() -> dict[str, Any]:
    return moments(2048)


def test_ours_keep_the_resolution_and_reject_another(tmp_path: Path) -> None:
    path, extractor = tmp_path / "s.npz", Pixels()
    references(IMAGES, [extractor])["pixels"].save(path)
    found = Reference.load(path, extractor)
    assert (found.n, found.size) == (50, (6, 4))
    found.require_size(IMAGES[:1])
    found.require_size(torch.zeros(3, 2))
    with pytest.raises(InputError, match="found samples of 6×4 pixels; accepted: 4×6"):
        found.require_size(IMAGES.transpose(2, 3))
    with pytest.raises(InputError, match="images of 4×6 pixels; accepted: 4×4"):
        Reference.load(path, extractor, (4, 4))
    assert Reference.load(path, extractor, (6, 4)).size == (6, 4)
    references(IMAGES.flatten(1), [extractor])["pixels"].save(path)
    assert Reference.load(path, extractor).size is None


@pytest.mark.parametrize("name", ["inception", "inception_tf"])
def test_statistics_that_do_not_say_their_extractor_are_inception_s(
    name: str, large: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "fid-refs.npz"
    np.savez(path, **large)
    assert Reference.is_one(path)
    found = Reference.load(path, Named(name), (32, 32))
    assert (found.extractor, found.sha256, found.n, found.size) == (name, "s", None, (32, 32))
    np.testing.assert_array_equal(found.frechet.mean, large["mu"])
    found.save(tmp_path / "again.npz")
    again = Reference.load(tmp_path / "again.npz", Named(name))
    assert (again.n, again.size) == (None, (32, 32))
    with pytest.raises(InputError, match=f"of the extractor '{name}'; accepted: 'inception_x'"):
        Reference.load(tmp_path / "again.npz", Named("inception_x"))
    with pytest.raises(InputError, match=f"'{name}' with other weights"):
        Reference.load(tmp_path / "again.npz", Named(name, "other"))


def test_and_of_no_other_extractor(large: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", **large)
    np.savez(tmp_path / "small.npz", **moments(1024))
    np.savez(tmp_path / "no-mean.npz", sigma=large["sigma"])
    np.savez(tmp_path / "no-n.npz", **moments(3), extractor="pixels", sha256="pixels")
    for name, file in (
        ("dinov2", "small"),
        ("dinov2", "large"),
        ("mine", "large"),
        ("inception", "small"),
    ):
        with pytest.raises(
            InputError, match=f"without the name of an extractor; accepted: those of '{name}'"
        ):
            Reference.load(tmp_path / f"{file}.npz", Named(name))
    with pytest.raises(InputError, match="missing: mu"):
        Reference.load(tmp_path / "no-mean.npz", Named("inception"))
    with pytest.raises(InputError, match="missing: n"):
        Reference.load(tmp_path / "no-n.npz", Pixels())


def test_what_is_no_covariance_is_rejected(tmp_path: Path) -> None:
    # of 30 samples: some eigenvalues are zero, to rounding
    extractor, good = Named("pixels"), moments(40)

    def load(**entries: Any) -> Reference:
        np.savez(
            tmp_path / "s.npz",
            **({**good, "n": 30, "extractor": "pixels", "sha256": "s"} | entries),
        )
        return Reference.load(tmp_path / "s.npz", extractor)

    assert load().n == 30
    assert load(sigma=np.zeros((40, 40))).frechet.covariance.max() == 0
    negative = good["sigma"] - 0.01 * np.eye(40)
    skew = good["sigma"] + np.triu(np.ones((40, 40)), 1)
    infinite = np.full((40, 40), np.inf)
    for entries in ({"sigma": skew}, {"sigma": infinite}, {"mu": good["mu"][:-1]}, {"n": 1}):
        with pytest.raises(InputError, match=r"not a mean|accepted: \(39, 39\)"):
            load(**entries)
    with pytest.raises(InputError, match="negative eigenvalues"):
        load(sigma=negative)
    with pytest.raises(InputError, match="negative eigenvalues"):
        load(sigma=-np.eye(40))
    np.savez(tmp_path / "s.npz", **good, n=30, extractor="inception", sha256="s")
    with pytest.raises(
        InputError, match="40 features; accepted: those of the extractor 'inception', 2048"
    ):
        Reference.load(tmp_path / "s.npz", Named("inception"))


def test_edm2_s_pickles(large: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("study.files.pickles")
    small, path = moments(1024), tmp_path / "img512.pkl"

    def write(**content: Any) -> None:
        path.write_bytes(pickle.dumps(content))

    write(num_images=50_000, fid=large, fd_dinov2=small)
    assert Reference.is_one(path)
    for name, expected in (("inception_tf", large), ("dinov2", small)):
        found = Reference.load(path, Named(name), (512, 512))
        np.testing.assert_array_equal(found.frechet.covariance, expected["sigma"])
        assert (found.n, found.size) == (50_000, (512, 512))
    with pytest.raises(
        InputError,
        match="found statistics of inception_tf and dinov2; accepted: statistics of 'inception'",
    ):
        Reference.load(path, Named("inception"))
    write(num_images=50_000, fid=small)
    with pytest.raises(
        InputError, match="1024 features; accepted: those of the extractor 'inception_tf', 2048"
    ):
        Reference.load(path, Named("inception_tf"))
    with pytest.raises(
        InputError, match="found statistics of inception_tf; accepted: statistics of 'dinov2'"
    ):
        Reference.load(path, Named("dinov2"))
    write(num_images=1, fd_dinov2=small)
    with pytest.raises(InputError, match="of 1 samples"):
        Reference.load(path, Named("dinov2"))
    write(fd_dinov2={"mu": small["mu"]})
    with pytest.raises(InputError, match="a mean and a covariance"):
        Reference.load(path, Named("dinov2"))
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match="found no statistics"):
        Reference.load(path, Named("dinov2"))


def test_what_is_a_reference(tmp_path: Path) -> None:
    Image.new("L", (4, 6)).save(tmp_path / "x.png")
    np.savez(tmp_path / "samples.npz", samples=np.zeros((2, 3)))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    for name in (".", "x.png", "samples.npz", "broken.npz", "none.npz"):
        assert not Reference.is_one(tmp_path / name)


def test_a_reference_of_files_is_written(tmp_path: Path) -> None:
    u = (127.5 * IMAGES + 128).byte().squeeze(1).numpy()
    for index, image in enumerate(u):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "in" / f"{index:02}.png")
    written = write_reference(str(tmp_path / "in"), tmp_path / "out" / "s.npz", "pixels", tmp_path)
    found = Reference.load(tmp_path / "out" / "s.npz", Pixels())
    f = (u.reshape(50, -1) / 127.5 - 1).astype(np.float64)
    assert (found.n, found.size, written.n) == (50, (6, 4), 50)
    np.testing.assert_allclose(found.frechet.mean, f.mean(0), atol=1e-6)
    # the divisor is n − 1
    np.testing.assert_allclose(found.frechet.covariance, np.cov(f, rowvar=False), atol=1e-6)
    with pytest.raises(InputError, match=r"accepted: \.npz"):
        write_reference(str(tmp_path / "in"), tmp_path / "s.pkl", "pixels")
    with pytest.raises(InputError, match="accepted:"):
        write_reference(str(tmp_path / "in"), tmp_path / "s.npz", "fid")


def test_a_reference_of_a_data_set_is_written(tmp_path: Path) -> None:
    write_reference("digits", tmp_path / "s.npz", "digits")
    found = Reference.load(tmp_path / "s.npz", load_extractor("digits"))
    assert (found.n, found.size) == (1797, (8, 8))


def test_a_stream_is_its_samples() -> None:
    extractor, whole = Pixels(), references(IMAGES, [Pixels()])["pixels"]
    stream = stream_references((part for part in torch.split(IMAGES, 7)), [extractor])["pixels"]
    np.testing.assert_allclose(
        stream.frechet.covariance, whole.frechet.covariance, rtol=1e-9, atol=1e-12
    )
    assert stream.features is not None
    assert stream.features.shape == (50, 24)
    tally = Tally([extractor])
    tally.fold(IMAGES, 0)
    assert scores(tally, {"pixels": stream})["fd_pixels"] < 1e-6
    with pytest.raises(InputError, match="found 1 sample"):
        stream_references([IMAGES[:1]], [extractor])
