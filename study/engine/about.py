"""A record of what was run: parameters, versions, hashes and the commit."""

import platform
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from study.evaluation.evaluator import Evaluator
from study.specs import StudySpec


def describe(spec: StudySpec, evaluator: Evaluator) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters of a study, and as tags whatever else is needed to reproduce it."""
    params: dict[str, Any] = {}
    for key, value in {**asdict(spec), "pairings": [p.name for p in spec.pairings]}.items():
        nested = isinstance(value, dict)
        params |= {f"{key}.{k}": str(v) for k, v in value.items()} if nested else {key: str(value)}
    packages = (
        "degradation-study",
        "torch",
        "pytorch-lightning",
        "optuna",
        "mlflow",
        "numpy",
        "scipy",
        "scikit-learn",
    )
    tags = {f"version.{name}": version(name) for name in packages}
    tags |= {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git.commit": _commit(),
        "command": " ".join(sys.argv),
        "threads": str(torch.get_num_threads()),
        "base.sha256": evaluator.base.sha256,
        "reference.sha256": str(evaluator.fingerprint()["reference"]),
    }
    tags |= {f"extractor.{e.name}.sha256": e.sha256 for e in evaluator.extractors}
    return params, tags


def _commit() -> str:
    """The commit of the project's checkout, marked if it has changes; empty outside one."""

    def ask(*arguments: str) -> str:
        git = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(
            git, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return ask("rev-parse", "HEAD") + (
            " with changes" if ask("status", "--porcelain", "-uno") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return ""
