"""From a grid to its trials: which sizes at which budgets, each a complete TrainConfig.

A trial depends on the base config, its budget, its shape, its seed and the rules, and on no other
part of the grid: editing a grid leaves the ids of the trials that stay as they were.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from configs.errors import BadInput
from configs.load import build
from model.config import GPTConfig
from model.flops import flops_per_token_exact, params_effective
from scaling.plan import rules
from scaling.plan.config import GridConfig
from scaling.plan.cost import StepTime
from scaling.plan.ladder import rungs
from training.config import TrainConfig, as_mapping, setting_digest, trial_id


@dataclass(frozen=True)
class Trial:
    """One run to make; `flops_budget` is what was asked, before rounding to whole batches."""

    id: str
    flops_budget: float
    config: TrainConfig
    predicted_s: float | None


@dataclass(frozen=True)
class LeftOut:
    """A cell of the grid that is not run, and why."""

    flops_budget: float
    n_layer: int
    n_embd: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """All trials of a grid in running order, longest first, and the cells that are not run."""

    setting: str
    base: TrainConfig
    grid: GridConfig
    trials: tuple[Trial, ...]
    left_out: tuple[LeftOut, ...]


def plan_grid(
    base: TrainConfig,
    grid: GridConfig,
    dataset_tokens: int | None,
    step_time: StepTime | None = None,
) -> Plan:
    """The trials of `grid`; what it does not set is as in `base`.

    `dataset_tokens` is the length of the training split (None: not known, epochs unchecked).
    `step_time` predicts seconds; without it the order is by budget, then by steps. Raises BadInput
    when a rule is asked beyond its range or no cell is left.
    """
    ladder = rungs(grid.ladder, base.model)
    trials: dict[str, Trial] = {}
    left_out: list[LeftOut] = []
    for budget, count in grid.sizes_by_budget.items():
        expected = grid.centre.n_effective(budget)
        beyond = _beyond(ladder, expected)
        cells: list[TrainConfig] = []
        for shape in _nearest(ladder, expected, count):
            cell = _cell(base, grid, budget, shape, dataset_tokens)
            if isinstance(cell, TrainConfig) and not beyond:
                cells.append(cell)
            else:
                reason = cell if isinstance(cell, str) else beyond
                left_out.append(LeftOut(budget, shape.n_layer, shape.n_embd, reason))
        for config in _repeat(cells, grid, budget):
            identity = trial_id(config)
            predicted_s = step_time.trial_s(config) if step_time else None
            # Budgets closer than a token make the same run; it belongs to the lower one.
            trials.setdefault(identity, Trial(identity, budget, config, predicted_s))
    if not trials:
        worst = max(left_out, key=lambda cell: (cell.flops_budget, -cell.n_layer, -cell.n_embd))
        raise BadInput(
            f"grid.budgets: no size fits; at {worst.flops_budget:g} FLOP the smallest, "
            f"({worst.n_layer}, {worst.n_embd}): {worst.reason}"
        )
    return Plan(
        setting=setting_digest(base),
        base=base,
        grid=grid,
        trials=tuple(sorted(trials.values(), key=_running_order)),
        left_out=tuple(left_out),
    )


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan's part of plan.json, schema 1."""
    values = as_mapping(plan)
    values["config"] = values.pop("base")
    return {"schema": 1, **values}


def plan_from_json(values: Mapping[str, Any]) -> Plan:
    """The plan in a parsed plan.json; raises BadInput where it is not one, or was edited by hand.

    `data_digest` and `launcher`, which others keep in the same file, are not looked at.
    """
    if values.get("schema") != 1:
        raise BadInput(f"plan.json: schema: found {values.get('schema')!r}, expected 1")
    others = ("schema", "data_digest", "launcher")
    fields = {key: value for key, value in values.items() if key not in others}
    if "config" in fields:
        fields["base"] = fields.pop("config")
    plan = build(Plan, fields, "plan.json")
    for trial in plan.trials:
        if trial.id != trial_id(trial.config):
            raise BadInput(
                f"plan.json: trial {trial.id}: found a config of id {trial_id(trial.config)}; "
                "plan.json is not to be edited, plan again instead"
            )
    return plan


def _cell(
    base: TrainConfig,
    grid: GridConfig,
    budget: float,
    shape: GPTConfig,
    dataset_tokens: int | None,
) -> TrainConfig | str:
    """The trial of one budget and shape with the seed of `base`, or why there is none."""
    tokens = round(budget / flops_per_token_exact(shape))
    if tokens < grid.min_steps * shape.block_size:
        found = tokens // shape.block_size
        return f"{found} steps of a single sequence, expected {grid.min_steps} or more"
    case = rules.Case(shape, tokens, budget)
    chosen = grid.rules
    batch = rules.batch_tokens(chosen.batch, case, chosen.batch_factor)
    steps = round(tokens / batch)
    if steps < grid.min_steps:
        return f"{steps} steps of {batch} tokens, expected {grid.min_steps} or more"
    if dataset_tokens is not None and steps * batch > base.data.max_epochs * dataset_tokens:
        epochs = steps * batch / dataset_tokens
        return f"{epochs:.3g} epochs, expected at most data.max_epochs {base.data.max_epochs:g}"
    lr = chosen.lr_factor * rules.learning_rate(chosen.lr, case)
    beta2 = rules.beta2(chosen.beta2, batch)
    return replace(
        base,
        model=replace(shape, init_std=_four_digits(rules.init_std(chosen.init, case))),
        optimizer=replace(
            base.optimizer,
            lr=_four_digits(lr),
            betas=(base.optimizer.betas[0], _four_digits(beta2)),
        ),
        schedule=replace(
            base.schedule,
            tokens=tokens,
            batch_tokens=batch,
            warmup_tokens=rules.warmup_tokens(chosen.warmup, case, batch),
        ),
    )


def _repeat(cells: list[TrainConfig], grid: GridConfig, budget: float) -> Iterator[TrainConfig]:
    """Each cell once for each of its seeds."""
    expected = grid.centre.n_effective(budget)
    nearest = min((_distance(cell.model, expected) for cell in cells), default=0.0)
    for cell in cells:
        seeds = grid.seeds
        if budget == min(grid.budgets):
            seeds = max(seeds, grid.seeds_at_lowest_budget)
        if _distance(cell.model, expected) == nearest:
            seeds = max(seeds, grid.seeds_at_centre)
        yield from (replace(cell, seed=cell.seed + repeat) for repeat in range(seeds))


def _nearest(ladder: tuple[GPTConfig, ...], expected: float, count: int) -> list[GPTConfig]:
    """The `count` rungs nearest the expected N_effective, smallest first."""
    by_distance = sorted(ladder, key=lambda shape: _distance(shape, expected))
    return sorted(by_distance[:count], key=params_effective)


def _beyond(ladder: tuple[GPTConfig, ...], expected: float) -> str:
    """Why no valley can be bracketed on this ladder; empty when one can."""
    low, high = params_effective(ladder[0]), params_effective(ladder[-1])
    if low <= expected <= high:
        return ""
    return (
        f"the expected optimum, N_effective {expected:.3g}, lies beyond the ladder, "
        f"which has {low:.3g} to {high:.3g}"
    )


def _distance(shape: GPTConfig, expected: float) -> float:
    return abs(math.log(params_effective(shape) / expected))


def _running_order(trial: Trial) -> tuple[float, float, int, str]:
    steps = trial.config.schedule.steps
    return (-(trial.predicted_s or 0.0), -trial.flops_budget, -steps, trial.id)


def _four_digits(value: float) -> float:
    """Rounded, so that no id depends on the last bit of a platform's power function."""
    return float(f"{value:.4g}")
