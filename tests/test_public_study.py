"""A study of a public checkpoint from its files on disk to its table, with a small random network
in the place of EDM2, a small autoencoder and a small extractor; and what is said where files are
missing."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import urllib.error
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from degradations import InputError, Site
from study.checkpoints import convert, load_base, public_cards, public_statistics
from study.cli.config import load_spec
from study.cli.main import call
from study.engine.check import evaluator_of
from study.engine.run import run
from study.engine.verify import images_of
from study.files.images import write_png
from study.metrics.clean_fid import verify
from study.models.by_class import published
from study.records.task import BASE, Task
from study.report.table import caption
from tests.helpers import evaluator_for
from tests.test_diffusers import saved, unet
from tests.test_inception import StandIn, make
from tests.test_pickles import Call, EasyDict, _reconstruct_persistent_obj, dumps, meta

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")

ARGUMENTS = {
    "img_resolution": 8,
    "img_channels": 4,
    "label_dim": 3,
    "use_fp16": True,
    "sigma_data": 0.5,
    "model_channels": 8,
    "channel_mult": [1, 2],
    "channels_per_head": 8,
    "num_blocks": 1,
    "attn_resolutions": [4],
}


def persistent(module: nn.Module, name: str, arguments: dict[str, Any] | None = None) -> Any:
    """A module as the public pickles hold it: its class's name and its state, and sources that must
    not be run."""
    children = OrderedDict(
        (key, persistent(each, type(each).__name__))
        for key, each in module.named_children()
        if not isinstance(each, Site)
    )
    state = {
        "_parameters": OrderedDict(module._parameters),
        "_buffers": OrderedDict(module._buffers),
        "_modules": children,
        "training": False,
        "_init_args": (),
        "_init_kwargs": EasyDict(arguments or {}),
    }
    return Call(
        _reconstruct_persistent_obj,
        meta(class_name=name, module_src="raise SystemExit", state=state),
    )


def write_checkpoint(path: Path, seed: int, latents: bool = True) -> dict[str, Tensor]:
    """A pickle in the layout of EDM2's with a random network, and its tensors."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        denoiser = published("Precond", ARGUMENTS)
        for name, parameter in denoiser.network.named_parameters():
            parameter.data = (
                torch.rand([]) + 0.5
                if name.endswith("gain")
                else torch.randn_like(parameter).half()
            )
    outer = nn.Module()
    outer.unet = denoiser.network
    outer.logvar_linear = nn.Linear(2, 1)
    encoder = persistent(nn.Module(), "StabilityVAEEncoder" if latents else "StandardRGBEncoder")
    path.write_bytes(dumps(EasyDict(ema=persistent(outer, "Precond", ARGUMENTS), encoder=encoder)))
    return dict(denoiser.network.state_dict())


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str) -> None:
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr("study.files.cache._open", refuse)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that a study of EDM2 wants, small."""
    folder = tmp_path_factory.mktemp("public")
    write_checkpoint(folder / "edm2-small.pkl", 0)
    write_checkpoint(folder / "edm2-smaller.pkl", 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        diffusers.AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            norm_num_groups=4,
            up_block_types=("UpDecoderBlock2D",) * 2,
            sample_size=16,
        ).save_pretrained(folder / "vae")  # type: ignore[no-untyped-call]
    digest = make(folder / "net.pt", StandIn())
    entries = {"kind": "extractor", "file": "net.pt", "sha256": digest, "mode": "tf"}
    (folder / "standin.json").write_text(json.dumps(entries))
    shades = np.random.default_rng(0).integers(0, 256, (96, 4, 4, 3), dtype=np.uint8)
    for index, image in enumerate(shades.repeat(4, axis=1).repeat(4, axis=2)):
        write_png(folder / "images" / f"{index:03d}.png", image)
    status = call(
        [
            "reference",
            str(folder / "images"),
            "--out",
            str(folder / "reference.npz"),
            "--extractor",
            str(folder / "standin.json"),
            "--root",
            str(folder / "root"),
        ]
    )
    assert status == 0
    study = {
        "name": "dry",
        "base": str(folder / "edm2-small.pkl"),
        "reference": str(folder / "reference.npz"),
        "decoder": str(folder / "vae"),
        "extractors": [str(folder / "standin.json")],
        "sampler": {"steps": 4, "labels": "edm2", "chunk": 16},
        "pairings": [
            {"main": "dropout(0.2)", "guide": "dropout(0.4)"},
            {"main": "none", "guide": str(folder / "edm2-smaller.pkl")},
        ],
        "search": {"method": "gp", "samples": 70, "trials": 3, "design": [1.0, 2.0]},
        "confirm": {"samples": 70, "seed_sets": 2, "controls": False},
    }
    (folder / "dry.yaml").write_text(yaml.safe_dump(study))
    return folder


def test_a_study_from_pickle_to_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, root = str(place / "dry.yaml"), str(place / "root")
    assert call(["run", config, "--plan", "--root", root]) == 0
    planned = capsys.readouterr().out
    assert "missing" not in planned
    for name in ("edm2-small.pkl", "edm2-smaller.pkl", "standin.json", "reference.npz", "vae"):
        assert f"{place / name}" in planned
    assert call(["run", config, "--root", root]) == 0
    capsys.readouterr()
    assert call(["table", "dry", "--root", root, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in rows] == ["fd_standin"] * 2
    assert [row["guide"] for row in rows] == ["dropout(0.4)", str(place / "edm2-smaller.pkl")]
    assert all(row["fd_base"] > 0 and row["fd_guide"] != row["fd_main"] for row in rows)
    assert rows[1]["fd_main"] == rows[1]["fd_base"]
    assert {row["precision"] for row in rows} == {"fp32"}
    reports = Path(root) / "reports" / "dry"
    assert (reports / "samples-1.png").is_file()
    assert not (reports / "nearest.png").exists()  # there are no training data to be near to


def test_the_score_is_that_of_the_decoded_images(place: Path, tmp_path: Path) -> None:
    """What a study scores is what `study score` says of the images that `study sample` writes: the
    same 8 bits."""
    config, root = str(place / "dry.yaml"), str(place / "root")
    arguments = [
        "--samples",
        "70",
        "--format",
        "folder",
        "--out",
        str(tmp_path / "out"),
        "--root",
        root,
    ]
    assert call(["sample", config, "--main", "dropout(0.2)", *arguments]) == 0
    from study.evaluation.score_files import score_files

    found = score_files(
        tmp_path / "out" / "images", str(place / "reference.npz"), str(place / "standin.json")
    )
    spec = load_spec(config)
    evaluator = evaluator_of(spec, Path(root))
    outcome = evaluator.outcome(Task.alone("dropout(0.2)", spec.seed, 70, 4))
    assert outcome.scores["fd_standin"] == pytest.approx(found["fd_standin"], rel=1e-6)


def test_clean_fid_verifies_the_decoded_images(place: Path, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes((place / "net.pt").read_bytes())
    card = json.loads((place / "standin.json").read_text()) | {"mode": "clean"}
    (tmp_path / "mine.json").write_text(json.dumps(card))
    changes = ["--extractors", f"[{tmp_path / 'mine.json'}]", "--reference", str(place / "images")]
    evaluator = evaluator_of(load_spec(str(place / "dry.yaml"), changes), place / "root")
    task = Task("dropout(0.2)", "dropout(0.4)", "independent", 2.0, 1, 70, 4)
    kept, (extractor,) = evaluator.outcome(task).scores["fd_mine"], evaluator.extractors
    found = verify(
        images_of(evaluator, task),
        extractor,
        evaluator.references["mine"],
        kept,
        torch.device("cpu"),
    )
    assert [batch.shape for batch in images_of(evaluator, task)] == [(70, 16, 16, 3)]
    assert found.difference < found.tolerance < 0.01 * kept


def test_samples_are_those_of_the_published_script(place: Path) -> None:
    """Seeds, noise, labels and Heun steps of EDM2's scripts, written out in full here, guided by
    another network."""
    spec = load_spec(str(place / "dry.yaml"), ["--sampler.chunk", "3"])
    evaluator = evaluator_of(spec, place / "root")
    main, guide = (
        load_base(place / f"{name}.pkl", "").denoiser for name in ("edm2-small", "edm2-smaller")
    )
    found = evaluator.samples(
        Task(BASE, str(place / "edm2-smaller.pkl"), "independent", 1.7, 0, 5, 4)
    )
    noise, labels = [], []
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        noise.append(torch.randn(4, 8, 8, generator=generator))
        labels.append(torch.randint(3, (), generator=generator))
    label, n = torch.stack(labels), torch.arange(4, dtype=torch.float32)
    t = torch.cat(
        [(80 ** (1 / 7) + n / 3 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7, torch.zeros(1)]
    )

    def denoised(x: Tensor, sigma: Tensor) -> Tensor:
        worse = guide(x, sigma, label)
        return worse + 1.7 * (main(x, sigma, label) - worse)

    x = torch.stack(noise) * t[0]
    for i in range(4):
        slope = (x - denoised(x, t[i])) / t[i]
        ahead = x + (t[i + 1] - t[i]) * slope
        if i < 3:
            slope = (slope + (ahead - denoised(ahead, t[i + 1])) / t[i + 1]) / 2
        x = x + (t[i + 1] - t[i]) * slope
    assert float((found - x).norm() / x.norm()) < 1e-5


def test_the_network_has_the_tensors_of_the_pickle(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path / "x.pkl", 3, latents=False)
    expected = published("Precond", ARGUMENTS).eval()
    expected.network.load_state_dict({name: tensor.clone() for name, tensor in weights.items()})
    base = load_base(tmp_path / "x.pkl", "whatever")
    assert (base.data.shape, base.data.classes, base.latents, base.precision) == (
        (4, 8, 8),
        3,
        False,
        "fp16",
    )
    found = base.denoiser.network.state_dict()
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_converted_weights_are_those_of_the_pickle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_checkpoint(tmp_path / "x.pkl", 3)
    assert call(["convert", str(tmp_path / "x.pkl"), str(tmp_path / "y.safetensors")]) == 0
    kept = load_file(tmp_path / "y.safetensors")
    assert kept.keys() == weights.keys()
    assert all(
        torch.equal(kept[name], each) and kept[name].dtype == each.dtype
        for name, each in weights.items()
    )
    card = json.loads((tmp_path / "y.json").read_text())
    assert (card["class"], card["arguments"], card["latents"]) == ("Precond", ARGUMENTS, True)
    x = torch.randn(2, 4, 8, 8)
    a, b = (load_base(tmp_path / name, "").denoiser for name in ("x.pkl", "y.safetensors"))
    assert torch.equal(a(x, 1.0, torch.tensor([0, 2])), b(x, 1.0, torch.tensor([0, 2])))
    torch.save(dict(weights), tmp_path / "z.pt")
    (tmp_path / "z.json").write_text(
        json.dumps({key: card[key] for key in ("class", "arguments", "latents")})
    )
    assert torch.equal(load_base(tmp_path / "z.pt", "").denoiser(x, 1.0), a(x, 1.0))


def spoil(folder: Path, name: str) -> str:
    """A bad published file, and what is said of it."""
    write_checkpoint(folder / "x.pkl", 3)
    if name == "another tensor":
        arguments = {**ARGUMENTS, "model_channels": 16}
        outer = nn.Module()
        outer.unet = published("Precond", ARGUMENTS).network
        (folder / "x.pkl").write_bytes(dumps({"ema": persistent(outer, "Precond", arguments)}))
        return (
            r"x\.pkl: 'dec\.4x4_block0\.attn_proj\.weight' has shape \(16, 16, 1, 1\), its network "
            r"wants \(32, 32,"
        )
    if name == "another class":
        (folder / "x.pkl").write_bytes(dumps({"ema": persistent(nn.Module(), "Generator")}))
        return r"x\.pkl: a network of the class Generator; known are Precond"
    if name == "no network":
        (folder / "x.pkl").write_bytes(dumps({"G": 1}))
        return r"x\.pkl: no network under 'ema'"
    if name == "hostile":
        (folder / "x.pkl").write_bytes(
            pickle.dumps({"ema": Call(os.system, f"touch {folder / 'marker'}")})
        )
        return r"x\.pkl: .*posix.*system"
    if name == "not finite":
        outer = nn.Module()
        outer.unet = nn.Linear(2, 1)
        outer.unet.weight.data.fill_(torch.nan)
        (folder / "x.pkl").write_bytes(dumps({"ema": persistent(outer, "Precond", ARGUMENTS)}))
        return r"x\.pkl: .*not finite"
    (folder / "x.pkl").unlink()
    return r"x\.pkl: no such file"


@pytest.mark.parametrize(
    "name", ["another tensor", "another class", "no network", "hostile", "not finite", "missing"]
)
def test_a_bad_checkpoint_is_refused(name: str, tmp_path: Path) -> None:
    says = spoil(tmp_path, name)
    with pytest.raises(InputError, match=says):
        load_base(tmp_path / "x.pkl", "")
    with pytest.raises(InputError, match=says):
        convert(tmp_path / "x.pkl", tmp_path / "y.safetensors")
    assert {path.name for path in tmp_path.iterdir()} <= {"x.pkl"}


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["--reference", "digits"], r"reference 'digits': .*8×8 pixels, the samples have 16×16"),
        (
            ["--extractors", "[pixels]"],
            r"reference.npz: statistics of the extractor 'standin', 'pixels' is wanted",
        ),
        (["--sampler.labels", "stratified", "--decoder", "nowhere"], r"nowhere: no such folder"),
        (["--base", "nowhere.pkl"], r"nowhere.pkl: no such file"),
        (["--precision", "fp8"], r"precision"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], says: str
) -> None:
    assert call(["run", str(place / "dry.yaml"), *overrides, "--root", str(tmp_path / "root")]) == 2
    assert re.search(says, capsys.readouterr().err)
    assert not (tmp_path / "root").exists()


def test_a_base_of_others_is_not_trained(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["train", str(place / "dry.yaml"), "--root", str(place / "root")]) == 2
    assert "which others trained" in capsys.readouterr().err


def test_a_guide_of_another_shape_is_refused(place: Path) -> None:
    spec = load_spec(
        str(place / "dry.yaml"), ["--pairings", "[{main: none, guide: edm2-small.pkl}]"]
    )
    base = load_base("digits", "digits")
    with pytest.raises(InputError, match=r"samples \[1, 8, 8\].*latents \[4, 8, 8\]"):
        evaluator_for(
            spec, load_base(place / "edm2-small.pkl", ""), lambda name: base, place / "root"
        )


def test_precision_is_a_variant(place: Path) -> None:
    """The study of what fp16 or bf16 costs: the base in another precision, on the same seeds."""
    spec = load_spec(
        str(place / "dry.yaml"),
        ["--pairings", "[{main: base@precision=bf16, guide: base@precision=fp16}]"],
    )
    evaluator = evaluator_of(spec, place / "root")
    tasks = {name: Task.alone(name, 0, 40, 4) for name in (BASE, *spec.named)}
    samples = {name: evaluator.samples(task) for name, task in tasks.items()}
    error = {
        name: float((x - samples[BASE]).norm() / samples[BASE].norm())
        for name, x in samples.items()
    }
    assert 0 < error["base@precision=fp16"] < error["base@precision=bf16"] < 0.1
    assert evaluator.fingerprint()["variant.base@precision=bf16"].endswith("in bf16")
    whole = evaluator_of(
        load_spec(str(place / "dry.yaml"), ["--precision", "bf16"]), place / "root"
    )
    assert torch.equal(whole.samples(tasks[BASE]), samples["base@precision=bf16"])
    assert whole.spec.precision == "bf16"


def test_other_decoder_weights_are_another_study(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "vae", tmp_path / "vae")
    spec = load_spec(str(place / "dry.yaml"))
    other = replace(spec, decoder=str(tmp_path / "vae"))
    first, same = (evaluator_of(each, place / "root").fingerprint() for each in (spec, other))
    assert first == same  # another place, and the same decoder
    with torch.random.fork_rng():
        diffusers.AutoencoderKL.from_pretrained(tmp_path / "vae").apply(
            lambda module: nn.init.normal_(module.weight) if isinstance(module, nn.Conv2d) else None
        ).save_pretrained(tmp_path / "vae")
    changed = evaluator_of(other, place / "root").fingerprint()
    assert {key for key in first if first[key] != changed[key]} == {"decoder"}


def test_probes_of_a_base_without_data_look_at_its_own_samples(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "--probe.images",
        "4",
        "--probe.levels",
        "2",
        "--probe.draws",
        "2",
        "--probe.resamples",
        "100",
        "--search.weight",
        "[1, 2]",
        "--search.step",
        "0.5",
        "--search.samples",
        "20",
    ]
    command = ["probe", str(place / "dry.yaml"), "--name", "probed", *small, "--format", "json"]
    assert call([*command, "--root", str(place / "root")]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2
    assert all(
        row["loss_on_held_out"] is False and row["endpoint_weight"] is not None for row in rows
    )
    assert rows[1]["cosine"] is None  # the base's own error is none


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
        with pytest.raises(InputError, match=r"sampler.sigma_max: found 200, wanted at most 157"):
            evaluator_of(noisier, tmp_path)


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
        monkeypatch.setattr("study.engine.plan._time", lambda spec, base, count: ["…"])
        assert call(["run", f"configs/{config}.yaml", "--plan", "--root", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        missing = [line for line in said.splitlines() if line.strip().startswith("missing")]
        assert len(missing) == files
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("overrides", "says"),
        [
            (
                ["--reference", "img64"],
                r"reference 'img64': .* 64×64 pixels, the samples have 512×512",
            ),
            (
                ["--reference", "cifar10-32x32"],
                r"statistics of inception_tf are published, 'dinov2' is wanted",
            ),
            (
                ["--reference", "digits"],
                r"reference 'digits': .* 8×8 pixels, the samples have 512×512",
            ),
            (
                ["--reference", "pyproject.toml"],
                r"pyproject.toml: neither a folder nor a zip of images",
            ),
            (["--base", "hub:../../etc"], r"hub:../../etc: accepted is hub:org/name"),
            (["--decoder", "hub:../../etc"], r"hub:../../etc: accepted is hub:org/name"),
            (["--base", "hub:a/b", "--decoder", "hub:x"], r"hub:x: accepted is hub:org/name"),
            (
                ["--pairings", "[{main: none, guide: input-blur(0.1)+no-attention(2)}]"],
                r"no-attention\(2\)",
            ),
            (
                ["--pairings", "[{main: none, guide: edm2-img64-s-1073741-0.045}]"],
                r"samples \[3, 64, 64\].*latents",
            ),
            (["--pairings", "[{main: none, guide: base@width=0.5}]"], r"neither a shipped card"),
            (["--base", "edm2-img512-s-2147483-0.130@width=0.5"], r"neither a shipped card"),
            (
                ["--search.strength", "[0.2, 0.3]"],
                r"search.strength: found \(0.2, 0.3\), which the guide",
            ),
        ],
        ids=lambda value: value[1] if isinstance(value, list) else "",
    )
    def test_a_plan_refuses_what_a_run_would(
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
            r"ms a network evaluation of a sample, fp32, of a network of \d% of its operations",
            said,
        )
        assert re.search(r"202 GFLOP a network evaluation", said)
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
                    denoiser = published(card.class_name, card.arguments)
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
    }
    assert "WARNING" in caption([row])
    assert "WARNING" not in caption([{**row, "samples": 50_000}])
    assert "WARNING" not in caption([{**row, "metric": "fd_digits"}])


@pytest.mark.slow
def test_a_launched_group_shares_every_evaluation(tmp_path: Path) -> None:
    """Two processes give the scores of one to 1e-9, and only the first writes and speaks."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    group = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found = {}
    for name, launcher in (("one", []), ("two", group)):
        root = tmp_path / name
        command = [
            sys.executable,
            *launcher,
            "-m",
            "study.cli",
            "run",
            "tests/small.yaml",
            "--root",
            str(root),
        ]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.count("Tables and figures") == 1
        found[name] = json.loads((root / "reports" / "small" / "table.json").read_text())
    for one, two in zip(found["one"], found["two"], strict=True):
        for key, value in one.items():
            if isinstance(value, float):
                assert two[key] == pytest.approx(value, rel=1e-9), key
            elif not isinstance(value, list):
                assert two[key] == value, key
