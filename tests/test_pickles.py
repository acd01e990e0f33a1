"""What comes back out of public pickles: networks, tensors, arrays and other values."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from degradations import InputError
from study.files import pickles
from study.files.pickles import Record, load, tensors
from tests.pickle_files import dumps, network, read, storage, tensor


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_network_comes_back(tmp_path: Path, protocol: int) -> None:
    original = network()
    data = read(tmp_path, original, protocol)
    assert type(data) is dict
    assert list(data) == ["ema", "encoder", "dataset_kwargs", "loss_fn"]
    assert type(data["dataset_kwargs"]) is dict
    assert data["dataset_kwargs"] == {"path": "x.zip"}
    found, wanted = tensors(data["ema"]), original["ema"].state_dict()
    assert list(found) == list(wanted)
    for name, one in found.items():
        assert (one.dtype, one.stride()) == (wanted[name].dtype, wanted[name].stride()), name
        assert torch.equal(one, wanted[name]), name
    assert found["tied.weight"] is found["enc.a.weight"]
    assert found["enc.a.weight"].dtype == torch.float16
    state = data["ema"].state
    assert data["ema"].name == "Net"
    assert state["training"] is False
    assert state["skip"] is None
    assert state["_modules"]["enc"].name == "torch.nn.modules.container.ModuleDict"
    assert state["_init_args"] == (8,)
    assert type(state["_init_kwargs"]) is dict
    assert state["_init_kwargs"] == {
        "label_dim": 10,
        "channel_mult": [1, 2],
        "balance": 0.5,
        "noise": None,
        "fp16": True,
    }
    assert data["encoder"].name == "Encoder"
    assert data["encoder"].state["_vae"] is None
    assert np.array_equal(data["encoder"].state["scale"], np.array([1, 2], np.float32))


def test_views_share_their_storage(tmp_path: Path) -> None:
    held = storage(torch.arange(6.0))
    a, b, c = read(
        tmp_path,
        [tensor((2, 3), (3, 1), 0, held), tensor((2, 2), (1, 2), 1, held), tensor((), (), 5, held)],
    )
    assert a.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert b.tolist() == [[1, 3], [2, 4]]
    assert c.item() == 5
    a[1, 2] = 7
    assert c.item() == 7
    alone = read(tmp_path, torch.arange(10.0)[3:7:2])
    assert alone.tolist() == [3, 5]
    assert alone.stride() == (2,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_statistics_come_back(tmp_path: Path, protocol: int) -> None:
    # more than the bytes that are remembered
    sigma = np.random.default_rng(0).normal(size=(100, 100))
    value = {
        "num_images": 50000,
        "fid": {"mu": sigma[0], "sigma": np.asfortranarray(sigma)},
        "s": np.float32(1.5),
    }
    found = read(tmp_path, value, protocol)
    assert found["num_images"] == 50000
    assert found["s"] == 1.5
    assert type(found["s"]) is float
    assert np.array_equal(found["fid"]["mu"], sigma[0])
    assert np.array_equal(found["fid"]["sigma"], sigma)
    assert found["fid"]["sigma"].dtype == np.float64
    assert found["fid"]["sigma"].flags.writeable


def test_other_values(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(1, 0, 2)
    value = [
        torch.device("cuda:1"),
        torch.float16,
        np.dtype("f4"),
        {"a", "b"},
        -5,
        2**40,
        b"x",
        (True, None),
        {1: "ü"},
    ]
    assert read(tmp_path, value, 5) == [
        "cuda:1",
        torch.float16,
        np.dtype("f4"),
        {"a", "b"},
        *value[4:],
    ]
    assert np.array_equal(read(tmp_path, array, 5), array)
    assert np.array_equal(read(tmp_path, [array, array[:0]], 4)[0], array)
    for dtype in pickles.DTYPES.values():
        one = (torch.arange(5) % 2).to(dtype)
        assert torch.equal(read(tmp_path, one), one)
        assert read(tmp_path, one).dtype == dtype
    first, second = read(tmp_path, [array, array])
    assert first is second  # remembered before its state came


def test_memory_is_that_of_the_tensors(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(dumps({str(i): np.ones(2**18) for i in range(8)}))  # 8 × 2 MiB
    tracemalloc.start()
    load(tmp_path / "x.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 22 * 2**20


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_weight_that_is_not_finite_is_named(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    data = network()
    data["ema"].enc.b[0].scale = torch.ones(5, 7).to(dtype)
    assert len(tensors(read(tmp_path, data)["ema"])) == 11
    data["ema"].enc.b[0].scale[3, 2] = value
    found = read(tmp_path, data)["ema"]
    with pytest.raises(
        InputError, match=r"Net: 'enc\.b\.0\.scale' has entries that are not finite"
    ):
        tensors(found)


def module(modules: Any = None, **parameters: Any) -> Record:
    return Record(
        "M",
        {
            "_parameters": parameters,
            "_buffers": {},
            "_modules": modules if modules is not None else {},
        },
    )


def test_what_is_no_module_is_rejected() -> None:
    one = torch.ones(2)
    around = module()
    around.state["_modules"]["a"] = around
    laugh = module(a=one)
    for _ in range(40):
        laugh = module({"a": laugh, "b": laugh})
    names = module({str(i): module(a=None) for i in range(2)})
    wide = module(
        dict.fromkeys(map(str, range(300)), module(**{f"p{i}": None for i in range(300)}))
    )
    assert tensors(names) == {}
    cases = {
        around: "nested without end",
        laugh: "more than 65536",
        wide: "more than 65536",
        Record("M", {**module().state, "_non_persistent_buffers_set": None}): "is not a module",
        Record("M", {}): "'' .M. is not a module",
        Record("M", {"_parameters": []}): "is not a module",
        module({"a": Record("Enc", {})}): r"'a' \(Enc\) is not a module",
        module({"a": one}): "'a' .M. is a Tensor",
        module(a=module()): "'a' .M. is a Record, in _parameters",
        module(a=[1]): "is a list",
        module({"a.b": module()}): "no",
        module(**{"a.b": one}): "'a.b' in '' is not a name",
        module({"": module()}): "is not a name",
        module({3: module()}): "3 in",
        module({"a": module(b=one)}, a=one): "'a' in '' is not a name",
    }
    for record, says in cases.items():
        with pytest.raises(InputError, match=says):
            tensors(record)
