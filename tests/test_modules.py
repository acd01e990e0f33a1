"""The Lightning module: what it samples depends on neither Lightning nor the number of processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from degradations import Dropout, Failed, InputNoise, Pair
from study.metrics import Pixels, Tally
from study.modules import group as group_module
from study.modules.device import device as device_of
from study.modules.sample import PairSampler, collect, score
from study.sampling import Churn, Fixed, edm_sigmas, sample
from tests.helpers import small_network

SIGMAS = edm_sigmas(6, 0.01, 10).tolist()
LABELS = torch.arange(70) % 3


def module(coupling: str = "independent", churn: Churn | None = None) -> PairSampler:
    return PairSampler(small_network(), Dropout(0.2), InputNoise(0.2), coupling, sigmas=SIGMAS, churn=churn)  # type: ignore[arg-type]


@pytest.mark.parametrize("coupling", ["independent", "shared"])
@pytest.mark.parametrize("churn", [None, Churn(2.0)])
def test_it_samples_what_the_plain_loop_samples(coupling: str, churn: Churn | None) -> None:
    source, pair = Fixed((70, 16), 20, LABELS), Pair(small_network(), Dropout(0.2), InputNoise(0.2), coupling)  # type: ignore[arg-type]
    for weight in (1.0, 2.0):
        plain = sample(pair.at(weight), (70, 16), steps=6, sigma_min=0.01, sigma_max=10, labels=LABELS, chunk=20,
                       seed=4, churn=churn)  # fmt: skip
        assert torch.equal(collect(module(coupling, churn), source, weight, 4), plain)


def test_scoring_folds_every_sample_once() -> None:
    source, seen = Fixed((70, 16), 20, LABELS), []
    tally = score(module(), source, 2.0, 0, [Pixels()], seen.append)
    whole = Tally([Pixels()])
    whole.fold(collect(module(), source, 2.0, 0), 0)
    assert seen == [20, 20, 20, 10]
    np.testing.assert_allclose(tally.moments["pixels"].product, whole.moments["pixels"].product, rtol=1e-9)
    np.testing.assert_array_equal(tally.features("pixels"), whole.features("pixels"))


def test_scoring_beside_the_sampling_folds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator: in another thread, one chunk behind; what fails there fails here."""
    source, threads = Fixed((70, 16), 20, LABELS), set()

    def see(x: torch.Tensor) -> torch.Tensor:
        threads.add(threading.current_thread())
        return x

    plain = score(module(), source, 2.0, 0, [Pixels()], see=see)
    assert threads == {threading.current_thread()}
    monkeypatch.setattr("study.modules.sample._overlaps", lambda where: True)
    beside = score(module(), source, 2.0, 0, [Pixels()], see=see)
    assert len(threads) == 2
    np.testing.assert_array_equal(beside.moments["pixels"].product, plain.moments["pixels"].product)
    np.testing.assert_array_equal(beside.features("pixels"), plain.features("pixels"))
    for bad in (20, 10):  # in the midst, and the last
        with pytest.raises(Failed, match=f"{bad} of {bad} samples"):
            score(module(), source, 2.0, 0, [Pixels()], see=lambda x, bad=bad: x / 0 if len(x) == bad else x)


def test_the_same_module_samples_again_the_same() -> None:
    sampler, source = module(), Fixed((40, 16), 20, LABELS[:40])
    first = collect(sampler, source, 2.0, 1)
    collect(sampler, source, 1.0, 2)
    assert torch.equal(collect(sampler, source, 2.0, 1), first)


def test_the_base_stays_where_it_was_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning moves a module of its own to the CPU after every prediction: the base is shared with others."""
    base, events = small_network(), list[str]()
    apply = base._apply

    def moved(*given: Any, **options: Any) -> Any:
        events.append("moved")
        return apply(*given, **options)

    monkeypatch.setattr(base, "_apply", moved)
    base.register_forward_hook(lambda *_: events.append("evaluated"))
    collect(PairSampler(base, InputNoise(0.2), sigmas=SIGMAS), Fixed((40, 16), 20), 1.0, 0)
    assert events[0] == "moved"
    assert events[-1] == "evaluated"


@pytest.mark.slow
def test_two_processes_get_the_samples_of_one(tmp_path: Path) -> None:
    """Under torchrun the ranks share the chunks, and all have the samples and the tally of one process bit for bit."""
    script = tmp_path / "ranks.py"
    script.write_text(
        "import os, sys, torch\n"
        "torch.set_num_threads(1)\n"
        "from tests.test_modules import *\n"
        "source = Fixed((70, 16), 20, LABELS)\n"
        "sampler = module()\n"
        "x = collect(sampler, source, 2.0, 3)\n"
        "tally = score(sampler, source, 2.0, 3, [Pixels()])\n"
        "found = x, tally.moments['pixels'].product, tally.features('pixels')\n"
        "torch.save(found, f'{sys.argv[1]}/{os.environ[\"RANK\"]}.pt')\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([*launch, str(script), str(tmp_path)], check=True, env=environment, timeout=300, capture_output=True)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1)]
    source = Fixed((70, 16), 20, LABELS)
    samples = collect(module(), source, 2.0, 3)
    tally = score(module(), source, 2.0, 3, [Pixels()])
    for found, product, features in parts:
        assert torch.equal(found, samples)
        np.testing.assert_allclose(product, tally.moments["pixels"].product, rtol=1e-12)
        np.testing.assert_array_equal(features, tally.features("pixels"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_comes_through_and_handlers_stay(number: int) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def interrupt(_: int) -> None:
        os.kill(os.getpid(), number)
        time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        score(module(), Fixed((70, 16), 20, LABELS), 2.0, 0, [Pixels()], interrupt)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.slow
def test_a_group_of_more_processes_than_chunks_fails_together(tmp_path: Path) -> None:
    """Three processes, two chunks, of which the second has a sample that is not finite: all say so, and none waits."""
    script = tmp_path / "ranks.py"
    script.write_text(
        "import os, sys, torch\n"
        "torch.set_num_threads(1)\n"
        "from tests.test_modules import *\n"
        "from degradations import Failed\n"
        "def spoiled(x):\n"
        "    return x if len(x) == 20 else x / 0\n"
        "try:\n"
        "    score(module(), Fixed((30, 16), 20, LABELS[:30]), 2.0, 3, [Pixels()], see=spoiled)\n"
        "except Failed as error:\n"
        "    open(f'{sys.argv[1]}/{os.environ[\"RANK\"]}.txt', 'w').write(str(error))\n"
        "assert len(collect(module(), Fixed((30, 16), 20, LABELS[:30]), 2.0, 3)) == 30\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([*launch, str(script), str(tmp_path)], check=True, env=environment, timeout=300, capture_output=True)
    said = {(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1, 2)}
    assert said == {"10 of 10 samples in a chunk have features that are not finite."}


def test_slurm_is_a_launcher_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place that SLURM gives a process; torchrun's goes first."""
    for name, value in {"NTASKS": 4, "PROCID": 2, "LOCALID": 1, "NODEID": 0, "JOB_NAME": "study", "NTASKS_PER_NODE": 4,
                        "NODELIST": "node[3-4]", "JOB_ID": 17, "STEP_ID": 0}.items():  # fmt: skip
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    joined: list[tuple[object, ...]] = []
    monkeypatch.setattr("study.modules.group.dist.init_process_group", lambda *given: joined.append(given))
    assert group_module.group.__wrapped__() == group_module.Group(2, 4, 1)
    ((backend, address, _, world, rank),) = joined
    assert (backend, world, rank) == ("gloo", 4, 2)
    assert str(address).startswith("tcp://node3:")
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "GROUP_RANK": 0, "LOCAL_WORLD_SIZE": 2,
                        "MASTER_ADDR": "localhost", "MASTER_PORT": 1, "TORCHELASTIC_RUN_ID": "x"}.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    assert group_module.group.__wrapped__() == group_module.Group(1, 2, 1)
    assert joined[1][1] == "env://"


def test_every_process_has_an_accelerator_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fourth of a machine's processes with two GPUs: the second of these, and fp32 is fp32."""
    chosen: list[int] = []
    monkeypatch.setattr("study.modules.device.group", lambda: group_module.Group(3, 8, 3))
    for name, value in {"is_available": True, "device_count": 2, "current_accelerator": torch.device("cuda")}.items():
        monkeypatch.setattr(torch.accelerator, name, lambda value=value: value)
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert device_of.__wrapped__() == torch.device("cuda", 1)
    assert chosen == [1]
    assert torch.backends.cudnn.allow_tf32 is False
