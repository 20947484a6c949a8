"""From a grid to its trials: which sizes at which budgets, each a complete TrainConfig.

A trial depends on the base config, its budget, its shape, its seed and the rules, and on no other
part of the grid: editing a grid leaves the ids of the trials that stay as they were.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NoReturn

from common.errors import BadInput
from model.config import GPTConfig
from model.flops import flops_per_token_exact
from scaling.plan.arms import Arm, arms_of
from scaling.plan.config import GridConfig, Part
from scaling.plan.cost import TimeModel
from scaling.plan.ladder import distance, rungs, shape_of, spread
from scaling.plan.plan import NOTHING_LEARNED, Plan, SkippedCell, StageResults, Trial, merge_plans
from scaling.plan.trial_config import cell_config, control_configs, reason_off_ladder, shapes_at
from training.config import TrainConfig
from training.trial.identity import setting_digest, trial_id


def plan_grid(
    base: TrainConfig,
    grid: GridConfig,
    dataset_tokens: int | None,
    step_time: TimeModel | None = None,
    learned: StageResults = NOTHING_LEARNED,
) -> Plan:
    """The trials of `grid` and of its horizons and controls; what it does not set is as in `base`.

    `dataset_tokens` is the length of the training split (None: not known, epochs unchecked).
    `step_time` predicts seconds; without it the order is by budget, then by steps. A cell where a
    rule does not hold is left out. Raises BadInput when no cell is left.
    """
    arms = arms_of(base, grid)
    made = [_arm_trials(arm, arms[0], dataset_tokens, step_time, learned) for arm in arms]
    for arm, found in zip(arms[1:], made[1:], strict=True):
        _require_paired(arms[0].name, arm.name, made[0], found)
    plan = Plan(
        setting_digest(base),
        base,
        grid,
        trials=(),
        left_out=tuple(cell for found in made for cell in found.left_out),
        learned=learned,
        dataset_tokens=dataset_tokens,
        step_time=step_time,
    )
    return merge_plans(plan, (trial for found in made for trial in found.trials))


def _arm_trials(
    arm: Arm,
    baseline: Arm,
    dataset_tokens: int | None,
    step_time: TimeModel | None,
    learned: StageResults,
) -> "CellTrials":
    """The cells of one arm, at each budget of sizes as near to the baseline's as it has them."""
    base, grid = arm.base, learned.of(arm.name).applied(arm.grid)
    like = learned.applied(baseline.grid)
    made = CellTrials(step_time, arm.name)
    middle = sorted(grid.budgets)[len(grid.budgets) // 2]
    for budget in sorted(grid.budgets):
        why = "" if isinstance(grid.ladder, tuple) else reason_off_ladder(base, grid, budget)
        cells = []
        sizes = shapes_at(baseline.base, like, budget) if arm is not baseline else ()
        for shape in shapes_at(base, grid, budget, sizes):
            found = cell_config(base, grid, budget, shape, dataset_tokens)
            if isinstance(found, TrainConfig) and not why:
                cells.append(found)
            else:
                made.add(budget, shape, found if isinstance(found, str) else why, "grid")
        # Budgets closer than a token make the same run; it belongs to the lower one.
        for config in _repeat(cells, grid, budget):
            made.add(budget, config.model, config, "grid")
        if grid.controls and budget in (grid.controls.budgets or (middle,)):
            for config in cells:
                for part, found in control_configs(config, grid.controls):
                    made.add(budget, config.model, found, part)
    made.require_any()
    for budget, shape in _horizons(base, grid):
        found = cell_config(base, grid, budget, shape, dataset_tokens)
        made.add(budget, shape, found, "horizons")
    return made


class CellTrials:
    """The trials of an arm's cells, as they are added, and the cells that cannot be run."""

    def __init__(self, step_time: TimeModel | None, arm: str | None = None):
        self.trials: list[Trial] = []
        self.left_out: list[SkippedCell] = []
        self._step_time, self._arm = step_time, arm

    def add(self, budget: float, shape: GPTConfig, found: TrainConfig | str, part: Part) -> None:
        """A cell's config, or the reason why it has none."""
        if isinstance(found, TrainConfig):
            self.trials.append(trial_of(found, budget, part, self._step_time, self._arm))
        else:
            self.left_out.append(SkippedCell(budget, shape.n_layer, shape.n_embd, found, self._arm))

    def require_any(self) -> None:
        """BadInput where no cell can be run."""
        if not self.trials:
            refuse_empty(self.left_out)


def trial_of(
    config: TrainConfig,
    budget: float,
    part: Part,
    step_time: TimeModel | None,
    arm: str | None = None,
) -> Trial:
    """The trial that runs `config`."""
    predicted_s = step_time.trial_s(config) if step_time else None
    arms = ((arm, part),) if arm else ()
    return Trial(trial_id(config), budget, config, predicted_s, part, arms)


def refuse_empty(left_out: Sequence[SkippedCell]) -> NoReturn:
    """Say of the cell with the best chance why not even that one can be run."""
    arm = f"grid.arms.{left_out[0].arm}: " if left_out[0].arm else ""
    worst = max(left_out, key=lambda cell: (cell.flops_budget, -cell.n_layer, -cell.n_embd))
    if worst.reason.startswith("grid.rules"):
        raise BadInput(arm + worst.reason)
    raise BadInput(
        f"{arm}grid.budgets: no size fits; at {worst.flops_budget:g} FLOP the smallest, "
        f"({worst.n_layer}, {worst.n_embd}): {worst.reason}"
    )


def seeds_of(grid: GridConfig, budget: float) -> int:
    """Runs of a cell of this budget that is not the one nearest the expected optimum."""
    lowest = budget == min(grid.budgets)
    return max(grid.seeds, grid.seeds_at_lowest_budget) if lowest else grid.seeds


def _repeat(cells: list[TrainConfig], grid: GridConfig, budget: float) -> Iterator[TrainConfig]:
    """Each cell once for each of its seeds."""
    expected = grid.centre.n_effective(budget)
    nearest = min((distance(cell.model, expected) for cell in cells), default=0.0)
    for config in cells:
        seeds = seeds_of(grid, budget)
        if distance(config.model, expected) == nearest:
            seeds = max(seeds, grid.seeds_at_centre)
        yield from (replace(config, seed=config.seed + repeat) for repeat in range(seeds))


def _horizons(base: TrainConfig, grid: GridConfig) -> Iterator[tuple[float, GPTConfig]]:
    """(FLOP, shape) of every size at every horizon."""
    asked = grid.horizons
    if asked is None:
        return
    if isinstance(asked.sizes, int):
        low, high = (grid.centre.n_effective(pick(grid.budgets)) for pick in (min, max))
        shapes = spread(rungs(grid.ladder, base.model), low, high, asked.sizes)
    else:
        shapes = [shape_of(text, base.model) for text in asked.sizes]
    for shape in shapes:
        flops = flops_per_token_exact(shape)
        tokens = asked.tokens or tuple(ratio * flops / 6 for ratio in asked.tokens_per_param or ())
        yield from ((flops * horizon, shape) for horizon in tokens)


def _require_paired(
    baseline: str | None, name: str | None, theirs: CellTrials, found: CellTrials
) -> None:
    """BadInput for an arm that has no cell at a budget where the baseline has one."""
    cells, budgets = (
        {trial.flops_budget for trial in one.trials if trial.part == "grid"}
        for one in (theirs, found)
    )
    if not cells & budgets:
        reason = next((f": {cell.reason}" for cell in found.left_out), "")
        raise BadInput(
            f"grid.arms.{name}: found no cell at a budget where the baseline {baseline} has one"
            f"{reason}; expected one or more, else nothing can be compared"
        )
