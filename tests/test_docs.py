"""README and docs: their size, commands, snippets, links, and that they are in step with the
code."""

import dataclasses
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from degradations import exports
from study import models, sampling
from study.cli.commands import COMMANDS
from study.cli.config import is_key, load_spec
from study.cli.main import _parser, call
from study.data import load_data
from study.files.images import to_uint8, write_png
from study.results import read
from study.specs import StudySpec
from study.specs.typed import group_of, hints, keys_of

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
# of all commands, or of all with a config, in the first table of the page
COMMON = {"-h", "--help", "--root", "--debug", "--config", "--allow-plugins"}
PLACEHOLDERS = {"COMMAND", "…"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def fences(text: str, language: str) -> list[str]:
    """The contents of fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def command_lines(text: str) -> list[str]:
    """What follows `study` in every command line, in blocks and within sentences."""
    text = text.replace("\\\n", " ")
    fenced = r"^```\{.*?^```|^```(?:python|yaml|json|text)\n.*?^```"
    blocks = re.sub(fenced, "", text, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^    (?:torchrun .*-m study\.cli|study) (.+)$", blocks, re.MULTILINE)
    return found + re.findall(r"`study ([^`]+)`", re.sub(r"^```.*$", "", blocks, flags=re.M))


def options(command: str) -> set[str]:
    """The options of a command's own."""
    actions = _parser(command, COMMANDS[command], helps=False)._actions
    return {each for action in actions for each in action.option_strings}


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_readme_fits() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 150
    assert not [line for line in lines if len(line) > 100 and not line.startswith("|")]
    assert "make study" in README.read_text()
    assert "make test" in README.read_text()


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    keys = set(keys_of(StudySpec))
    for line in command_lines(page.read_text()):
        name, *words = shlex.split(line, comments=True)
        if name in PLACEHOLDERS or name == "--help":
            continue
        assert name in COMMANDS, line
        for word in words:
            option = word.partition("=")[0]
            if not option.startswith("--") or option in ("--help", "--KEY"):
                continue
            is_config = COMMANDS[name].config and is_key(option) and option[2:] in keys
            assert option in options(name) or is_config, f"{page.name}: study {line}: {option}"


def test_command_lines_are_found() -> None:
    text = "    study run a.yaml \\\n        --plan\n\nsee `study table x` and\n\n"
    text += "    torchrun -m study.cli run b"
    assert [line.split() for line in command_lines(text)] == [
        ["run", "a.yaml", "--plan"],
        ["run", "b"],
        ["table", "x"],
    ]
    assert len(command_lines((DOCS / "commands.md").read_text())) > 30


@each_page
def test_links_resolve(page: Path) -> None:
    text = without_code(page.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    links += re.findall(r"\{download\}`[^<`]*<([^>]+)>`", page.read_text())
    for link in links:
        place, _, anchor = link.partition("#")
        if place.startswith("https://"):
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    if page.stem == "log":
        return
    pattern = r"`((?:configs|study|degradations|tests|benchmarks|notebooks)/[\w./-]+\.\w+)`"
    created = re.findall(r"^`([\w/.]+)`:$", page.read_text(), re.M)  # by the recipes
    for name in set(re.findall(pattern, page.read_text())) - set(created):
        assert (ROOT / name).exists(), name


def test_every_page_is_in_the_table_of_contents() -> None:
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", (DOCS / "index.md").read_text(), re.M | re.S)
    listed = {line for tree in trees for line in tree.split() if "/" in line or line.islower()}
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in PAGES[1:]} - {"index"}
    assert pages <= listed


def test_configs_are_accepted(tmp_path: Path) -> None:
    for page in PAGES:
        for block in fences(page.read_text(), "yaml"):
            path = tmp_path / "mine.yaml"
            path.write_text(block)
            assert load_spec(path).name == "mine"
    (mine,) = fences(README.read_text(), "yaml")
    assert len(mine.splitlines()) == 9


def test_readme_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    denoisers, results = fences(README.read_text(), "python")
    found: dict[str, Any] = {}
    exec(denoisers, found)
    assert tuple(found["x"].shape) == (10_000, 2)
    assert float(found["x"].std()) == pytest.approx(0.75, abs=0.02)
    monkeypatch.chdir(tmp_path)
    pairing = "[{main: noise(0.2), guide: noise(0.4), coupling: shared}]"
    few = ["--search.trials", "2", "--confirm.seed_sets", "2", "--confirm.controls", "false"]
    few += ["--search.samples", "60", "--confirm.samples", "60"]
    study = ["worker", str(ROOT / "tests/small.yaml"), "--name", "digits", "--pairings", pairing]
    assert call([*study, *few, "--extractors", "[digits]"]) == 0
    exec(results, found)
    assert list(found["digits"].table["pairing"]) == ["noise(0.2) → noise(0.4)"]
    assert len(found["digits"].trials) > 0


def test_the_tutorial_s_network_of_one_s_own_is_studied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = torch.nn.Dropout()

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self.drop(x)

    monkeypatch.chdir(tmp_path)
    images = to_uint8(load_data("digits").samples[:40])
    for index, image in enumerate(images):
        write_png(tmp_path / "my-images" / f"{index}.png", image)
    small = {
        "name": "mine",
        "reference": "my-images",
        "extractors": ["pixels"],
        "sampler": {"steps": 4, "sigma_max": 40},
        "pairings": [{"main": "dropout(0.1)", "guide": "dropout(0.2)"}],
        "search": {"samples": 40, "trials": 2},
        "confirm": {"samples": 40, "seed_sets": 2, "controls": False},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(small))
    (tutorial,) = fences((DOCS / "tutorials" / "own-model.md").read_text(), "python")
    exec(tutorial.replace("(3, 32, 32), classes=10", "(1, 8, 8)"), {"net": Net()})
    assert read("mine").table.pairing[0] == "dropout(0.1) → dropout(0.2)"


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_page_is_in_step_with_help(name: str) -> None:
    text = (DOCS / "commands.md").read_text()
    (section,) = re.findall(rf"^## study {name}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    for option in options(name) - COMMON:
        assert f"`{option}" in section or option.endswith("+"), option
    joined = re.sub(r" \\\n\s*", " ", section)
    for example in COMMANDS[name].examples.splitlines():
        assert example.strip() in joined


def test_configuration_page_has_every_key_and_its_default() -> None:
    text = (DOCS / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `?([^|`]*)`? \|", text, re.M))

    def check(spec: Any, prefix: str) -> None:
        for field in dataclasses.fields(spec):
            group, key = group_of(hints(spec)[field.name]), f"{prefix}{field.name}"
            if group:
                check(group, f"{key}.")
            elif field.default is not dataclasses.MISSING:
                shown = {"inf": ".inf"}.get(rows[key], rows[key])
                value = yaml.safe_load(shown)
                expected = field.default
                assert (tuple(value) if isinstance(value, list) else value) == expected, key
            else:
                assert key in text, key

    check(StudySpec, "")


def test_api_page_has_every_public_name() -> None:
    text = (DOCS / "api.md").read_text()
    public = [name for name in vars(exports) if not name.startswith("_")]
    for module in (models, sampling):
        public += re.findall(r"import \w+ as (\w+)", Path(str(module.__file__)).read_text())
    for name in (*public, "read", "StudyFrames"):
        assert re.search(rf"(?:auto\w+:: |`){name}\b", text), name


def test_architecture_page_has_the_floors_of_the_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contract["contracts"][0]["layers"]
    text = (DOCS / "architecture.md").read_text()
    floors: dict[str, str] = {}
    floor = ""
    for number, room in re.findall(r"^\| (\d*) ?\| `([\w/.]+?)/?(?:\.py)?` \|", text, re.M):
        floor = number or floor
        floors[room.replace("/", ".")] = floor
    for number, layer in enumerate(reversed(layers), 1):
        for room in layer.split(" | "):
            assert floors.get(room.strip()) == str(number), room


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    assert "arXiv:2406.02507" in str(citation["references"])
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_readme_s_own_study_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nine lines of YAML, with a small folder of diffusers and a folder of images."""
    from tests.diffusers_models import saved, unet

    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "my-model", unet(num_class_embeds=None))
    for seed in range(3):
        pixels = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(seed))
        write_png(tmp_path / f"my-images/{seed}.png", pixels.byte().numpy())
    Path("mine.yaml").write_text(*fences(README.read_text(), "yaml"))
    assert call(["run", "mine.yaml", "--plan"]) == 0
    plan = capsys.readouterr().out
    assert "present  checkpoint my-model: my-model" in plan
    assert "missing  Inception-v3 (2015) in TorchScript: mlruns/cache/" in plan
    assert "present  reference my-images: my-images" in plan
    assert "dropout(0.05) → dropout(0.1), independent" in plan


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    for name in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command += ["-D", "nb_execution_mode=off", "-D", "suppress_warnings=myst-nb.lexer"]
    command += [str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
