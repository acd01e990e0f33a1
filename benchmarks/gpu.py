"""What only an accelerator can tell, by one command of at most ten minutes.

    python benchmarks/gpu.py [--cpu] [PART …]

It reads nothing but the working tree, and needs no network. Every part runs in its own process with
its own time limit, so one that crashes or hangs does not affect the others. They run in this order,
the most informative first:

    checks    fp32, fp16, bf16, every kind of degradation, streams, decoding beside sampling,
              decoded images, a launched group, training
    sampling  guided sampling by EDM2-S with random weights, 32 Heun steps estimated from three:
              images per second, share of the peak of a matrix product in the same run, memory
    compiled  the same with the network compiled
    scoring   features by networks of the size of Inception-v3 and DINOv2 ViT-L, float64 moments,
              decoding, Fréchet distance
    digits    configs/digits.yaml, its scores beside the CPU's in README.md

Lines are `name value`, or begin with # where something is skipped. A value with a bound says ok or
FAILED; the exit status is 1 if something failed. On a CPU, or with --cpu, all parts are reduced to
what shows that they run.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 9.5  # of all parts together
SMALL = [
    "--extractors",
    "[digits]",
    "--sampler.steps",
    "4",
    "--search.samples",
    "100",
    "--search.budget",
    "null",
    "--search.tolerance",
    "null",
    "--search.method",
    "grid",
    "--search.weight",
    "[1, 2]",
    "--search.step",
    "1",
    "--pairings",
    "[{main: noise(0.2), guide: noise(0.4)}]",
    "--confirm.samples",
    "100",
    "--confirm.seed_sets",
    "2",
    "--confirm.controls",
    "false",
]


class Part(NamedTuple):
    """least, most: the seconds without which a part is not begun, and after which it is ended."""

    least: float
    most: float


PARTS = {
    "checks": Part(30, 180),
    "sampling": Part(30, 100),
    "compiled": Part(60, 150),
    "scoring": Part(30, 90),
    "digits": Part(60, 570),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all, where none is named"
    )
    parser.add_argument(
        "--cpu", action="store_true", help="reduced, though there is an accelerator"
    )
    # of a process that is one part
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        parser.error(f"unknown part {min(unknown)}; accepted: {', '.join(PARTS)}")
    if given.seconds is not None:
        sys.exit(part(given.parts[0], given.seconds))
    if given.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # This tree's packages, wherever the script is started; and a group of processes of this machine
    # meets on it.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line sets it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and the part that runs is ended too
    head()
    sys.exit(1 if all_parts(given.parts or list(PARTS)) else 0)


def head() -> None:
    """What the figures are of: the device and the versions."""
    import torch

    print(
        f"# {time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} "
        "processors"
    )
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(torch.cuda.current_device())
        driver = output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
        print(
            f"# {torch.cuda.get_device_name()}, {found.total_memory / 2**30:.0f} GiB, "
            f"{torch.cuda.device_count()} of them; driver {driver}, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}"
        )
    elif torch.accelerator.is_available():
        print(f"# {torch.accelerator.current_accelerator()}")
    else:
        print(
            f"# a CPU, {torch.get_num_threads()} threads: all parts are reduced, and no speed "
            "means anything"
        )
    packages = (
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "pytorch-lightning",
        "diffusers",
        "optuna",
        "mlflow",
    )
    print(f"# {', '.join(f'{name} {version(name)}' for name in packages)}", flush=True)


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def output(command: list[str]) -> str:
    """The first line of what a command says, 'unknown' where it cannot."""
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.partition("\n")[0].strip() or "unknown"


def all_parts(names: list[str]) -> list[str]:
    """Run parts one after the other, each as long as it may; those that failed."""
    end, failed = time.monotonic() + 60 * MINUTES, []
    for name in names:
        left = end - time.monotonic()
        if left < PARTS[name].least:
            print(f"# {name}: skipped, {left:.0f} s are left")
            continue
        seconds = min(left, PARTS[name].most)
        print(f"# {name}", flush=True)
        began = time.monotonic()
        status = wait([sys.executable, __file__, name, "--seconds", str(seconds)], seconds)
        if status is None:
            print(f"# {name}: ended after {seconds:.0f} s, unfinished", flush=True)
        elif status not in (0, 1):
            print(f"{name} FAILED: exit status {status}", flush=True)
        if status or (status is None and name == "checks"):  # a check that hangs has failed
            failed.append(name)
        print(f"{name}_seconds {time.monotonic() - began:.0f}", flush=True)
    return failed


def wait(command: list[str], seconds: float) -> int | None:
    """The exit status of a command, None where it was ended, with all that it had started, when its
    time was up."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def part(name: str, seconds: float) -> int:
    """One part, in a process of its own; its exit status."""
    end = time.monotonic() + seconds
    import gpu_checks
    import gpu_figures
    import gpu_networks
    from timing import Checks

    checks = Checks()
    if name == "checks":
        for check in gpu_checks.ALL:
            checks.run(check.__name__, check)
    elif name == "digits":
        checks.run(name, lambda checks: digits(end - time.monotonic() - 10, gpu_networks.REDUCED))
    else:
        figures = {
            "sampling": gpu_figures.sampling_eager,
            "compiled": gpu_figures.sampling_compiled,
            "scoring": gpu_figures.scoring,
        }[name]
        checks.run(name, lambda checks: figures(checks, lambda: end - time.monotonic()))
    return int(checks.failed)


def digits(seconds: float, reduced: bool) -> None:
    """The digits study by its command, and its table. Raises as `run` does."""
    with tempfile.TemporaryDirectory() as root:
        study, began = [sys.executable, "-m", "study.cli"], time.monotonic()
        command = [
            *study,
            "run",
            "configs/digits.yaml",
            "--root",
            root,
            *(SMALL if reduced else []),
        ]
        try:
            run(command, seconds)
        except subprocess.TimeoutExpired:
            print(f"# digits: ended after {seconds:.0f} s, unfinished", flush=True)
            return
        print(f"digits_study_seconds {time.monotonic() - began:.0f}", flush=True)
        rows = json.loads(run([*study, "table", "digits", "--format", "json", "--root", root], 60))
    published = {} if reduced else table_of_readme()
    for number, row in enumerate(rows, 1):
        print(
            f"# {number}: {row['main']} → {row['guide']}, {row['coupling']} draws, w = "
            f"{row['weight']:.2f}"
        )
        known = published.get((f"{row['main']} → {row['guide']}", row["coupling"]), {})
        for key, column in (
            ("fd_base", "base"),
            ("fd_main", "main"),
            ("fd_guide", "guide"),
            ("fd", "guided"),
        ):
            beside = f", on a CPU {known[column]}" if known else ""
            print(f"digits_{number}_{key} {row[key]:.2f}{beside}", flush=True)


def run(command: list[str], seconds: float) -> str:
    """What a command prints. Raises ModuleNotFoundError for a missing package, RuntimeError for
    other failures."""
    found = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    if found.returncode:
        if missing := re.search(r"No module named '([\w.]+)'", found.stderr):
            raise ModuleNotFoundError(missing[0], name=missing[1])
        raise RuntimeError((found.stderr.strip() or "no message").splitlines()[-1])
    return found.stdout


def table_of_readme() -> dict[tuple[str, str], dict[str, str]]:
    """The rows of README's table by pairing and draws."""
    lines = [
        re.split(r"\s*\|\s*", line.strip("| \n"))
        for line in (ROOT / "README.md").open()
        if line.startswith("|")
    ]
    header = next(cells for cells in lines if cells[0] == "pairing")
    rows = (
        dict(zip(header, cells, strict=True))
        for cells in lines
        if "→" in cells[0] and len(cells) == len(header)
    )
    return {(row["pairing"], row["draws"]): row for row in rows}


if __name__ == "__main__":
    main()
