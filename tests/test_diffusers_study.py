"""A study of a diffusers model, from its folder to its rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from degradations import InputError
from study.cli.config import load_spec
from study.engine.check import evaluator_of
from study.engine.run import run
from tests.diffusers_models import saved, unet


class TestDiffusers:
    """A study of a diffusers model is a study as any other."""

    @pytest.fixture(scope="class")
    def study(self, tmp_path_factory: pytest.TempPathFactory) -> Any:
        folder = tmp_path_factory.mktemp("diffusers")
        saved(folder / "model", unet(in_channels=1, out_channels=1))
        return load_spec(
            "tests/small.yaml",
            [
                "--name",
                "unet",
                "--base",
                str(folder / "model"),
                "--extractors",
                "[pixels]",
                "--reference",
                "digits",
                "--pairings",
                "[{main: dropout(0.1), guide: dropout(0.3)}, {main: none, guide: label-drop(1)}]",
                "--search.samples",
                "40",
                "--search.trials",
                "2",
                "--search.design",
                "[1.0, 2.0]",
                "--confirm.samples",
                "40",
                "--confirm.seed_sets",
                "2",
                "--confirm.controls",
                "false",
            ],
        )

    def test_it_runs(self, study: Any, tmp_path: Path) -> None:
        rows = run(study, tmp_path)
        assert [row["main"] for row in rows] == ["dropout(0.1)", "none"]
        assert all(
            np.isfinite(row["fd_main"]) and row["fd_guide"] != row["fd_main"] for row in rows
        )

    def test_its_noise_levels_are_not_left(self, study: Any, tmp_path: Path) -> None:
        noisier = replace(study, sampler=replace(study.sampler, sigma_max=200.0))
        with pytest.raises(
            InputError, match=r"sampler.sigma_max: found 200; accepted: at most 157"
        ):
            evaluator_of(noisier, tmp_path)
