"""A study of a public checkpoint from its files on disk to its table, with a small random network
in the place of EDM2, a small autoencoder and a small extractor."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from degradations import InputError
from study.checkpoints import load_base
from study.cli.config import load_spec
from study.cli.main import call
from study.engine.check import evaluator_of
from study.engine.verify import images_of
from study.files.images import write_png
from study.metrics.clean_fid import verify
from study.records.task import BASE, Task
from tests.extractor_files import StandIn, make
from tests.helpers import evaluator_for
from tests.public_files import write_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


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
    outcome = evaluator.outcome(Task.single("dropout(0.2)", spec.seed, 70, 4))
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


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["--reference", "digits"], r"reference 'digits': .*16×16 pixels; accepted: 8×8"),
        (
            ["--extractors", "[pixels]"],
            r"reference.npz: found statistics of the extractor 'standin'; accepted: 'pixels'",
        ),
        (["--sampler.labels", "stratified", "--decoder", "nowhere"], r"nowhere: no such folder"),
        (["--base", "nowhere.pkl"], r"nowhere.pkl: no such file"),
        (["--precision", "fp8"], r"precision"),
    ],
)
def test_what_does_not_fit_is_rejected_before_anything_is_written(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], says: str
) -> None:
    assert call(["run", str(place / "dry.yaml"), *overrides, "--root", str(tmp_path / "root")]) == 2
    assert re.search(says, capsys.readouterr().err)
    assert not (tmp_path / "root").exists()


def test_a_base_of_others_is_not_trained(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["train", str(place / "dry.yaml"), "--root", str(place / "root")]) == 2
    assert "a published checkpoint" in capsys.readouterr().err


def test_a_guide_of_another_shape_is_rejected(place: Path) -> None:
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
    tasks = {name: Task.single(name, 0, 40, 4) for name in (BASE, *spec.named)}
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
