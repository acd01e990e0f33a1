"""The shipped cards of public checkpoints: what they say, and what is said of missing files."""

import json
import re
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from study.checkpoints import public_cards, public_statistics
from study.cli.main import call
from study.models.by_class import network_of_class
from study.report.table import caption


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(address: str) -> None:
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr("study.files.cache._open", reject)


class TestCards:
    def test_a_missing_file_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], offline: None
    ) -> None:
        status = call(["run", "configs/edm2-img512-s.yaml", "--root", str(tmp_path)])
        said = capsys.readouterr().err
        assert status == 2
        for part in (
            "edm2-img512-s-2147483-0.130",
            "https://nvlabs-fi-cdn.nvidia.com/edm2/posthoc-reconstructions/",
            "SHA-256",
            str(tmp_path / "cache"),
        ):
            assert part in said

    @pytest.mark.parametrize(
        ("config", "files"),
        [("edm2-img512-s", 5), ("edm2-img512-s-autoguidance", 6), ("edm2-img64-s-autoguidance", 5)],
    )
    def test_a_plan_names_what_is_missing(
        self,
        config: str,
        files: int,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("study.engine.plan._time", lambda spec, base, count, root: ["…"])
        assert call(["run", f"configs/{config}.yaml", "--plan", "--root", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        missing = [line for line in said.splitlines() if line.strip().startswith("missing")]
        assert len(missing) == files
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("overrides", "says"),
        [
            (["--reference", "img64"], r"reference 'img64': .*512×512 pixels; accepted: 64×64"),
            (
                ["--reference", "cifar10-32x32"],
                r"found the extractor 'dinov2'; statistics are published of inception_tf",
            ),
            (["--reference", "digits"], r"reference 'digits': .*512×512 pixels; accepted: 8×8"),
            (
                ["--reference", "pyproject.toml"],
                r"pyproject.toml: found another file; accepted: a folder or zip of images",
            ),
            (["--base", "hub:../../etc"], r"hub:../../etc: accepted: hub:org/name"),
            (["--decoder", "hub:../../etc"], r"hub:../../etc: accepted: hub:org/name"),
            (["--base", "hub:a/b", "--decoder", "hub:x"], r"hub:x: accepted: hub:org/name"),
            (
                ["--pairings", "[{main: none, guide: input-blur(0.1)+no-attention(2)}]"],
                r"no-attention\(2\)",
            ),
            (
                ["--pairings", "[{main: none, guide: edm2-img64-s-1073741-0.045}]"],
                r"samples \[3, 64, 64\].*latents",
            ),
            (["--pairings", "[{main: none, guide: base@width=0.5}]"], r"accepted: a shipped card"),
            (["--base", "edm2-img512-s-2147483-0.130@width=0.5"], r"accepted: a shipped card"),
            (
                ["--search.strength", "[0.2, 0.3]"],
                r"search.strength: found \(0.2, 0.3\); the guide",
            ),
        ],
        ids=lambda value: value[1] if isinstance(value, list) else "",
    )
    def test_a_plan_rejects_what_a_run_would(
        self,
        overrides: list[str],
        says: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        offline: None,
    ) -> None:
        """Without any of the files."""
        config = ["run", "configs/edm2-img512-s.yaml", "--plan", "--root", str(tmp_path / "root")]
        assert call([*config, *overrides]) == 2
        assert re.search(says, capsys.readouterr().err)
        assert not (tmp_path / "root").exists()

    def test_a_plan_says_of_what_network_its_time_is(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Operations and weights are the card's; what is built and timed is a small network of its
        family."""
        built: list[int] = []
        randn = torch.randn

        def counted(*shape: Any, **how: Any) -> Tensor:
            made = randn(*shape, **how)
            built.append(0 if made.is_meta else made.numel())
            return made

        monkeypatch.setattr(torch, "randn", counted)
        assert call(["run", "configs/edm2-img512-s.yaml", "--plan", "--root", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        assert re.search(
            r"ms per network evaluation and sample, fp32, "
            r"extrapolated from a network of \d% of its operations",
            said,
        )
        assert re.search(r"202 GFLOP per network evaluation", said)
        assert "280.2 M parameters" in said
        assert sum(built) < 30e6

    def test_every_card_builds_the_network_that_it_says(self) -> None:
        """The published numbers of parameters in millions, on the meta device."""
        millions = {
            "edm2-img512-xs-2147483-0.135": 124.7,
            "edm2-img512-s-2147483-0.130": 280.2,
            "edm2-img512-m-2147483-0.100": 497.8,
            "edm2-img512-l-1879048-0.085": 777.5,
            "edm2-img512-xl-1342177-0.085": 1119.3,
            "edm2-img512-xxl-0939524-0.070": 1523.2,
            "edm-cifar10-32x32-cond-vp": 55.7,
            "edm-imagenet-64x64-cond-adm": 295.9,
        }
        known: dict[str, float] = {}
        for name, card in public_cards().items():
            asked = json.dumps([card.class_name, card.arguments], sort_keys=True)
            if asked not in known:
                with torch.device("meta"):
                    denoiser = network_of_class(card.class_name, card.arguments)
                known[asked] = sum(p.numel() for p in denoiser.parameters()) / 1e6
            assert known[asked] == pytest.approx(millions.get(name, known[asked]), abs=0.06), name
            assert card.reference in public_statistics()

    def test_what_was_published_of_them(self) -> None:
        card = public_cards()["edm2-img512-s-2147483-0.130"]
        assert (card.fid, card.ema, card.latents, card.reference) == (2.56, 0.13, True, "img512")
        guided = public_cards()["edm2-img512-s-2147483-0.070"].guided
        assert [(each["weight"], each["fid"]) for each in guided] == [(2.1, 1.34)]


def test_few_images_are_warned_of() -> None:
    row = {
        "metric": "fd_inception",
        "seeds": [1, 2],
        "samples": 1000,
        "steps": 4,
        "precision": "fp32",
        "nfe_main": 7,
        "coverage": 0.95,
        "recovered_ci": None,
        "correction": "not corrected",
    }
    assert "WARNING" in caption([row])
    assert "WARNING" not in caption([{**row, "samples": 50_000}])
    assert "WARNING" not in caption([{**row, "metric": "fd_digits"}])
