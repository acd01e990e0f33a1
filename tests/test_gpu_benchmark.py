"""The script for accelerators, as far as a CPU can run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu.py"


def test_its_network_is_that_of_the_public_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from benchmarks.gpu_networks import EDM2_S
    from study.checkpoints import public_cards

    wanted = public_cards()["edm2-img512-s-2147483-0.130"].arguments
    assert wanted == {**EDM2_S, "use_fp16": True, "sigma_data": 0.5}


def test_a_check_beyond_its_bound_fails_and_a_missing_package_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from benchmarks.timing import Checks

    def without(_: Checks) -> None:
        raise ModuleNotFoundError("No module named 'mlflow.tracking'", name="mlflow.tracking")

    checks = Checks()
    checks.at_most("good", 1e-6, 1e-5)
    checks.run("left_out", without)
    assert not checks.failed
    checks.at_most("bad", float("nan"), 1e-5)
    assert checks.failed
    checks.run("broken", lambda _: json.loads("{"))
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        "good 1e-06 ok, at most 1e-05",
        "# left_out: skipped, mlflow is not installed",
        "bad nan FAILED, at most 1e-05",
    ]
    assert said[3].startswith("broken FAILED: JSONDecodeError: ")


@pytest.mark.slow
def test_reduced_it_runs_through_on_a_cpu() -> None:
    found = subprocess.run(
        [sys.executable, str(SCRIPT), "--cpu"], capture_output=True, text=True, timeout=600
    )
    assert found.returncode == 0, found.stdout + found.stderr
    lines = found.stdout.splitlines()
    assert not [
        line for line in lines if "skipped" in line or "unfinished" in line or "FAILED" in line
    ]
    names = {line.partition(" ")[0] for line in lines}
    assert names >= {
        "edm2_bf16",
        "kind_dropout",
        "decoded_beside",
        "group_samples",
        "edm2_s_fp16_eager_share_of_peak",
        "edm2_s_fp16_compiled_difference",
        "dinov2_batch4_groups10_images_per_second",
        "frechet_device_ms",
        "digits_1_fd",
    }


def test_an_unknown_part_is_an_input_error() -> None:
    found = subprocess.run(
        [sys.executable, str(SCRIPT), "sampler"], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 2
    assert (
        "unknown part sampler; accepted: checks, sampling, compiled, scoring, digits"
        in found.stderr
    )
