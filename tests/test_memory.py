"""What a study must hold is compared with the memory there is, before anything is made."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from degradations import InputError
from study.cli.config import load_spec
from study.engine import memory
from study.engine.check import evaluator_of
from study.engine.plan import estimate
from study.specs import SamplerSpec, SearchSpec, StudySpec

CPU = torch.device("cpu")
SPEC = StudySpec("x", base="digits", extractors=("pixels",), sampler=SamplerSpec(chunk=500))


def sizes(
    spec: StudySpec, shape: tuple[int, ...], seen: tuple[int, ...] | None = None
) -> dict[str, int]:
    return {
        need.what.split(" of ")[0].split(":")[0]: need.size
        for need in memory.needs(spec, shape, seen)
    }


def test_what_a_study_holds_is_counted() -> None:
    """By hand, of float32 samples and float64 products of features, in ten groups."""
    spec = replace(SPEC, search=SearchSpec(samples=20_000))
    assert sizes(spec, (3, 8, 8)) == {
        "a chunk": 4 * 500 * 192 * 4,
        "endpoint probe": 5 * 20_000 * 192 * 4,
        "moments and kept features": 10 * 192 * 192 * 8 + 5000 * 192 * 4,
    }
    assert "endpoint probe" not in sizes(replace(spec, search=SearchSpec(method="gp")), (3, 8, 8))
    assert (
        sizes(spec, (4, 2, 2), (3, 16, 16))["moments and kept features"]
        == 10 * 768**2 * 8 + 5000 * 768 * 4
    )


def test_the_endpoint_probe_holds_no_more_than_is_counted() -> None:
    """Two sets of samples, and what their mixture takes while it is made."""
    n, d = 2000, 64
    x1, x0 = torch.randn(n, d), torch.randn(n, d)
    parts = [x1, x0, 2.0 * x1, -1.0 * x0]
    assert (
        sum(part.nbytes for part in [*parts, parts[2] + parts[3]])
        == memory.OF_ENDPOINTS * n * d * 4
    )


@pytest.mark.parametrize(
    ("changed", "what", "instead"),
    [
        (
            {"search": SearchSpec(samples=10_000_000)},
            "endpoint probe: 10,000,000 samples",
            "search.method gp",
        ),
        (
            {"sampler": SamplerSpec(chunk=1_000_000)},
            "a chunk of 50,000 samples",
            "a smaller sampler.chunk",
        ),
    ],
)
def test_too_much_is_rejected_with_what_helps(
    changed: dict[str, object], what: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = (
        replace(SPEC, **changed)
        if "search" in changed
        else replace(SPEC, search=SearchSpec(method="gp"), **changed)
    )
    held = memory.needs(spec, (1, 8, 8))
    total = sum(need.size for need in held)
    monkeypatch.setattr(memory, "cpu_memory", lambda: total)
    memory.check(held, CPU)
    monkeypatch.setattr(memory, "cpu_memory", lambda: total - 1)
    with pytest.raises(InputError) as rejected:
        memory.check(held, CPU)
    for part in (what, instead, f"at least {total / 1e9:,.2f} GB are needed"):
        assert part in str(rejected.value)


def test_a_chunk_is_held_where_it_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    held = memory.needs(replace(SPEC, search=SearchSpec(method="gp")), (3, 512, 512))[:1]
    monkeypatch.setattr(memory, "cpu_memory", lambda: 0)
    monkeypatch.setattr(memory, "device_memory", lambda where: held[0].size)
    memory.check(held, torch.device("cuda", 0))
    monkeypatch.setattr(memory, "device_memory", lambda where: held[0].size - 1)
    with pytest.raises(InputError, match=r"memory of cuda:0: .*sampler\.chunk"):
        memory.check(held, torch.device("cuda", 0))


def test_run_and_plan_reject_it_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "cpu_memory", lambda: 10**9)
    spec = load_spec("configs/digits.yaml", ["--search.samples", "10000000"])
    for begin in (evaluator_of, estimate):
        with pytest.raises(
            InputError, match=r"12\.80 GB .* 1\.00 GB are free; the largest part is endpoint probe"
        ):
            begin(spec, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_pixels_of_large_images_are_more_than_any_memory(tmp_path: Path) -> None:
    """Their covariance has 786 432² entries."""
    spec = load_spec(
        "configs/edm2-img512-s.yaml", ["--extractors", "[pixels]", "--reference", "some/images"]
    )
    with pytest.raises(InputError, match="moments and kept features of pixels, 786,432 dimensions"):
        estimate(spec, tmp_path)


def cgroup(folder: Path, names: tuple[str, str, str], limit: str, used: int, cached: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(
        names, (limit, str(used), f"anon 5\n{names[2]} {cached}\nfile 7\n"), strict=True
    ):
        (folder / ("memory.stat" if "inactive" in name else name)).write_text(text)


@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_of_a_container_or_a_job_is_what_its_control_groups_leave(
    tmp_path: Path, version: int
) -> None:
    """The tightest of a group and those around it; what a group caches can be dropped. No limit is
    "max", or huge."""
    of, top, names = (
        tmp_path / "of",
        tmp_path / ("memory" if version == 1 else "."),
        memory.CGROUPS[version],
    )
    of.write_text(
        "3:cpu,memory:/slurm/job/step\n2:cpuset:/other\n"
        if version == 1
        else "0::/slurm/job/step\n"
    )
    assert (
        memory.cgroup_memory(of, tmp_path)
        == memory.cgroup_memory(tmp_path / "none", tmp_path)
        == float("inf")
    )
    cgroup(top / "slurm/job/step", names, "max" if version == 2 else str(2**63 - 4096), 900, 100)
    cgroup(top / "slurm/job", names, "1000", 900, 100)
    cgroup(top / "slurm", names, "5000", 900, 100)
    assert memory.cgroup_memory(of, tmp_path) == 200
    # as a container may see it
    of.write_text(of.read_text().replace("/slurm/job/step", "/of/the/machine"))
    cgroup(top, names, "700", 600, 0)
    assert memory.cgroup_memory(of, tmp_path) == 100
