"""A whole study: base, searches, confirmation, verdicts, tables and figures."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from degradations import Failed, Refused
from study.checkpoints import Base, build, find, load_base, recipe_of
from study.data import load_data
from study.files.atomic import write_text
from study.files.lock import locked
from study.metrics import nearest, nearest_other
from study.modules.evaluate import Evaluator
from study.modules.train import check_recipe, folder_of, train
from study.records import Evaluation, Results, Task
from study.report import figures, table
from study.report.progress import Progress
from study.results import collect, report_folder, spec_to_json
from study.search import CONFIRM, Notebook, check_fingerprint, forget, names, open_storage, propose
from study.specs import PairingSpec, StudySpec
from study.tracking import Tracking

SHOWN = 24  # samples in a row of the sample grids
MEASURED = 600  # samples whose nearest training datum is looked for


def base_of(spec: StudySpec, root: Path, retrain: bool = False, progress: bool = True) -> Base:
    """The base of a study: loaded, or trained by the recipe into mlruns/bases, where it is found the next time."""
    if spec.base is not None and not retrain:
        return load_base(spec.base, spec.reference)
    recipe = replace(spec, base=None).recipe  # a spec without a base checks that recipe and reference agree
    data = load_data(recipe.data)
    untrained = build(recipe.network, data, recipe.sigma_data)
    Evaluator(spec, Base("untrained", untrained, data, ""))  # refuses before it trains, not after
    return load_base(train_base(spec, root, retrain, progress), spec.reference)


def train_base(
    spec: StudySpec, root: Path, again: bool = False, progress: bool = True, out: Path | None = None
) -> Path:
    """Train the base by the study's recipe unless it is there already; returns its folder. Interrupted, it goes on."""
    folder = out or folder_of(spec.recipe, root)
    card = folder / "card.json"
    if again:
        card.unlink(missing_ok=True)
        (folder / "training.ckpt").unlink(missing_ok=True)
    if card.exists():
        check_recipe(asdict(recipe_of(find(folder, "denoiser"))), spec.recipe, f"the base in {folder}")
    else:
        folder.mkdir(parents=True, exist_ok=True)  # a place that cannot be written to is known before the first step
        train(spec.recipe, folder, f"study train configs/{spec.name}.yaml", progress)
    return folder


def run(spec: StudySpec, root: Path, retrain: bool = False, fresh: bool = False) -> list[dict[str, Any]]:
    """A study, or what is left of it; returns the rows of its table. Raises Failed where it is running already."""
    if not spec.pairings:
        raise Refused("pairings: found none, wanted at least one, such as {main: noise(0.1), guide: noise(0.2)}.")
    evaluator = Evaluator(spec, base_of(spec, root, retrain))  # refuses bad input before anything is written
    with alone(root, spec.name):
        return Study(evaluator, root, fresh).run()


class Study:
    """A study under way: what it evaluates, where that is kept, and who is told."""

    def __init__(self, evaluator: Evaluator, root: Path, fresh: bool = False) -> None:
        self.evaluator, self.root = evaluator, root
        self.spec = spec = evaluator.spec
        storage = open_storage(root)
        if fresh:
            forget(storage, spec.name)
        self.shared = Notebook(storage, f"{spec.name}/{CONFIRM}")
        begun = any(Notebook(storage, each).evaluations() for each in names(storage, spec.name))
        check_fingerprint(self.shared, self.evaluator.fingerprint(), begun)
        self.shared.remember("spec", spec_to_json(spec))
        self.searches = {p: Notebook(storage, f"{spec.name}/{p.name}") for p in spec.pairings}
        for notebook in (self.shared, *self.searches.values()):
            notebook.release_lost()
        about = describe(spec, self.evaluator)
        self.shared.remember("about", about)
        self.tracking = Tracking(root, spec.name, anew=fresh)
        self.parts = open_parts(self.tracking, spec, *about)
        self.metric = f"fd_{spec.extractors[0]}"
        self._counted: set[Task] = set()

    def run(self) -> list[dict[str, Any]]:
        """Search, confirm, report; returns the rows of the table. What was evaluated before is not evaluated again."""
        self.progress = Progress(self._total())
        try:
            for pairing in self.spec.pairings:
                self._search(pairing)
            for task in self._confirmation():
                self._known_or_new(task)
            self.progress.close()
            return report(collect(self.root, self.spec.name), self.tracking, self.parts, self.evaluator, self.root)
        except BaseException as error:
            self.progress.close()
            self.tracking.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise

    def _search(self, pairing: PairingSpec) -> None:
        spec, notebook, part = self.spec.search, self.searches[pairing], self.parts[pairing.name]
        steps, seed = self.spec.sampler.steps, self.spec.seed
        done = notebook.evaluations()
        for evaluation in done:
            self.tracking.evaluation(part, evaluation, curve=True)
            if evaluation.task.weight != 1:
                self.progress.finish(evaluation.task.cost, "", known=True)
            else:
                self._known_or_new(evaluation.task)
        while len(done) < spec.trials:
            weight = propose(spec, [(e.task.weight, e.scores.get(self.metric)) for e in done], seed)
            if weight is None:
                return
            task = Task.guided(pairing, weight, seed, spec.samples, steps)
            alone = self._known_or_new(task) if weight == 1 else None
            with notebook.claim(task, self.metric, spec) as scores:
                if alone is None:
                    scores.update(self._evaluate(task))
                elif alone.reason:
                    raise Failed(alone.reason)
                else:
                    scores.update(alone.scores)
            done = notebook.evaluations()
            self.tracking.evaluation(part, done[-1], curve=True)
            if alone is None:
                self._finished(done[-1], self._best(pairing, done))

    def _known_or_new(self, task: Task) -> Evaluation:
        """The evaluation of a task that pairings share."""
        known = self.shared.find(task)
        if known is None:
            with self.shared.claim(task, self.metric) as scores:
                scores.update(self._evaluate(task))
            new = self.shared.find(task)
            assert new is not None
            self._finished(new)
        else:
            new = known
            if task not in self._counted:
                self.progress.finish(task.cost, "", known=True)
        self._counted.add(task)
        self.tracking.evaluation(self.parts[CONFIRM], new)
        return new

    def _confirmation(self) -> Iterator[Task]:
        results = collect(self.root, self.spec.name)
        tasks: dict[Task, None] = dict.fromkeys([results.searched_base(), *results.alone("none")])
        for pairing in self.spec.pairings:
            for name in (pairing.main, pairing.guide):
                tasks |= dict.fromkeys(results.alone(name))
            tested = results.tested(pairing)
            if tested is not None:
                tasks |= dict.fromkeys(results.guided(pairing, tested))
        for name in results.controls():
            tasks |= dict.fromkeys(results.alone(name, double=True))
        return iter(tasks)

    def _evaluate(self, task: Task) -> dict[str, float]:
        self.progress.start(task.name, task.samples)
        return self.evaluator.scores(task, self.progress.samples)

    def _finished(self, evaluation: Evaluation, best: str = "") -> None:
        value = evaluation.scores.get(self.metric)
        outcome = f"failed: {evaluation.reason}" if value is None else f"{self.metric} {value:.4g}"
        self.progress.finish(evaluation.task.cost, outcome, best)

    def _best(self, pairing: PairingSpec, done: list[Evaluation]) -> str:
        found = [(e.scores[self.metric], e.task.weight) for e in done if e.scores]
        return f"best {min(found)[0]:.4g} at w = {min(found)[1]:.2f}" if found else ""

    def _total(self) -> int:
        """The cost of everything, if no evaluation is shared but those of single denoisers."""
        search, confirm, steps = self.spec.search, self.spec.confirm, self.spec.sampler.steps
        mains = {p.main for p in self.spec.pairings}
        singles = {"none", *mains, *(p.guide for p in self.spec.pairings)}
        controls = len({"none", *mains}) if confirm.controls else 0
        searched = len(self.spec.pairings) * (search.trials - 1) * 2 + len(mains) + 1
        confirmed = confirm.seed_sets * (len(singles) + 2 * len(self.spec.pairings) + 2 * controls)
        return steps * (searched * search.samples + confirmed * confirm.samples)


def open_parts(tracking: Tracking, spec: StudySpec, params: dict[str, Any], tags: dict[str, str]) -> dict[str, str]:
    """The runs of a study's parts, by name."""
    tracking.describe(params, tags)
    parts = {CONFIRM: tracking.part(CONFIRM, {"seeds": str(spec.seeds), "samples": str(spec.confirm.samples)})}
    for p in spec.pairings:
        parts[p.name] = tracking.part(p.name, {"main": p.main, "guide": p.guide, "coupling": p.coupling})
    return parts


def report(
    results: Results, tracking: Tracking, parts: dict[str, str], evaluator: Evaluator | None, root: Path
) -> list[dict[str, Any]]:
    """Tables and figures into mlruns/reports/NAME and MLflow; figures of samples where there is an evaluator."""
    folder, rows = report_folder(root, results.spec.name), table.rows(results)
    written = []
    for suffix, form in (("md", "md"), ("csv", "csv"), ("json", "json"), ("tex", "latex")):
        write_text(folder / f"table.{suffix}", table.render(rows, form) + "\n")
        written.append(folder / f"table.{suffix}")
    write_text(folder / "config.json", json.dumps(spec_to_json(results.spec), indent=2) + "\n")
    written.append(folder / "config.json")
    for metric in (f"fd_{name}" for name in results.spec.extractors):
        shown = rows if metric == results.primary else table.rows(results, metric)
        written.append(figures.save(figures.curves(results, shown), folder / f"{metric}.png"))
    if evaluator is not None:
        written += sample_figures(results, evaluator, folder)
        for name, reference in evaluator.references.items():
            reference.save(folder / f"reference-{name}.npz")
            written.append(folder / f"reference-{name}.npz")
    tracking.files(written, "report")
    tracking.table({key: [str(row[key]) for row in rows] for key in rows[0]} if rows else {}, "table.json")
    for row, pairing in zip(rows, results.spec.pairings, strict=True):
        keys = ("weight", "recovered", "fd", "fd_sd", "fd_base", "fd_main", "fd_guide", "tested_weight", "tested_fd")
        tracking.conclude(parts[pairing.name], {f"result_{k}": row[k] for k in keys}, {"verdict": row["verdict"]})
    tracking.conclude(parts[CONFIRM], {}, {})
    tracking.close()
    return rows


def sample_figures(results: Results, evaluator: Evaluator, folder: Path) -> list[Path]:
    """Samples of base, main, guide and guided from the same seeds, and how far each is from the training data."""
    spec, written, distances = results.spec, [], {}
    data = evaluator.base.data.samples
    shuffled = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    order = torch.split(shuffled, 4 * MEASURED)
    distances["data"] = nearest_other(data) if len(order) == 1 else nearest(data[order[0]], data[torch.cat(order[1:])])
    draw = cache(evaluator.samples)
    for index, pairing in enumerate(spec.pairings):
        tested = results.tested(pairing)
        if tested is None:
            continue
        tasks = {
            "base": Task.alone("none", spec.seeds[0], MEASURED, spec.sampler.steps),
            f"main {pairing.main}": Task.alone(pairing.main, spec.seeds[0], MEASURED, spec.sampler.steps),
            f"guide {pairing.guide}": Task.alone(pairing.guide, spec.seeds[0], MEASURED, spec.sampler.steps),
            f"guided, w = {tested:.2f}": Task.guided(pairing, tested, spec.seeds[0], MEASURED, spec.sampler.steps),
        }
        drawn = {name: draw(task) for name, task in tasks.items()}
        shown = {name: x[:SHOWN] if x.ndim > 2 else x for name, x in drawn.items()}
        written.append(figures.save(figures.samples(shown), folder / f"samples-{index + 1}.png"))
        distances.setdefault("base", nearest(drawn["base"], data))
        distances[f"{pairing.name}, w {tested:g}"] = nearest(list(drawn.values())[-1], data)
    written.append(figures.save(figures.nearest(distances), folder / "nearest.png"))
    medians = {name: float(d.median()) for name, d in distances.items()}
    write_text(folder / "nearest.json", json.dumps({"median distance to nearest": medians}, indent=2) + "\n")
    return [*written, folder / "nearest.json"]


def describe(spec: StudySpec, evaluator: Evaluator) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters of a study, and what else is needed to run it again, as tags."""
    params: dict[str, Any] = {}
    for key, value in {**asdict(spec), "pairings": [p.name for p in spec.pairings]}.items():
        nested = isinstance(value, dict)
        params |= {f"{key}.{k}": str(v) for k, v in value.items()} if nested else {key: str(value)}
    packages = ("degradation-study", "torch", "pytorch-lightning", "optuna", "mlflow", "numpy", "scipy", "scikit-learn")
    tags = {f"version.{name}": version(name) for name in packages}
    tags |= {"python": platform.python_version(), "platform": platform.platform(), "git.commit": _commit(),
             "command": " ".join(sys.argv), "threads": str(torch.get_num_threads()),
             "base.sha256": evaluator.base.sha256,
             "reference.sha256": str(evaluator.fingerprint()["reference"])}  # fmt: skip
    tags |= {f"extractor.{e.name}.sha256": e.sha256 for e in evaluator.extractors}
    return params, tags


def _commit() -> str:
    """The commit of the project's checkout, with a mark where there are changes; empty outside one."""

    def ask(*arguments: str) -> str:
        git = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return ask("rev-parse", "HEAD") + (" with changes" if ask("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def sync(name: str, root: Path) -> None:
    """Rebuild MLflow's view of a study from the search's storage: runs, parameters, metrics, tables, curves.

    Raises Failed while the study is running.
    """
    results = collect(root, name)
    with alone(root, name):
        about = Notebook(open_storage(root), f"{name}/{CONFIRM}").attributes()["about"]
        tracking = Tracking(root, name, anew=True)
        parts = open_parts(tracking, results.spec, *about)
        for pairing, found in results.searches.items():
            for evaluation in found:
                tracking.evaluation(parts[pairing.name], evaluation, curve=True)
        for evaluation in results.shared:
            tracking.evaluation(parts[CONFIRM], evaluation)
        report(results, tracking, parts, None, root)


@contextmanager
def alone(root: Path, name: str) -> Iterator[None]:
    """Hold a study for one process. Raises Failed where another has it: two would evaluate the same twice."""
    try:
        with locked(root / "locks" / f"{name}.lock", wait=False):
            yield
    except BlockingIOError:
        raise Failed(f"the study '{name}' under {root} is running in another process: wait, or end it.") from None
