"""How often the networks of a task are evaluated."""

from collections.abc import Iterable

import torch

from degradations import parse_rule
from study.records.task import Task


def network_evaluations(
    task: Task, visits: Iterable[tuple[int, float]], main: int, guide: int, shares: bool
) -> int:
    """Network evaluations of a task, of main and guide together, as made by `Guided`.

    visits: the step and the noise level of each evaluation of a denoiser; main, guide: the networks
    that each of them evaluates; shares: whether one evaluation is for both, where both are needed.
    """
    rule = parse_rule(task.rule)
    made = [sigma for step, sigma in visits if not rule.idles(task.weight, step)]
    guided = int(rule.uses_guide(task.weight, torch.tensor(made)).sum())
    if not rule.uses_main(task.weight):
        return task.samples * ((len(made) - guided) * main + guided * guide)
    return task.samples * (len(made) * main + (0 if shares else guided * guide))
