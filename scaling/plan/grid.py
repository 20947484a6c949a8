"""From a grid to its trials: which sizes at which budgets, each a complete TrainConfig.

A trial depends on the base config, its budget, its shape, its seed and the rules, and on no other
part of the grid: editing a grid leaves the ids of the trials that stay as they were.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from common.errors import BadInput
from configs.schema import build
from model.config import GPTConfig
from model.flops import flops_per_token_exact
from scaling.plan.config import Arm, CentreConfig, GridConfig
from scaling.plan.cost import TimeModel
from scaling.plan.ladder import distance, rungs, shape_of, spread
from scaling.plan.trial_config import cell_config, control_configs, reason_off_ladder, shapes_at
from training.config import TrainConfig, as_mapping
from training.trial.identity import setting_digest, trial_id

Stage = Literal["scout", "tuning", "grid"]
# Of the arms that ask for one and the same trial the first has it.
_ORDER: tuple[Arm, ...] = ("grid", "horizons", "tuning", "scout")


@dataclass(frozen=True)
class Trial:
    """One run to make; `flops_budget` is what was asked, before rounding to whole batches."""

    id: str
    flops_budget: float
    config: TrainConfig
    predicted_s: float | None
    arm: Arm = "grid"


@dataclass(frozen=True)
class SkippedCell:
    """A cell of the grid that is not run, and why."""

    flops_budget: float
    n_layer: int
    n_embd: int
    reason: str


@dataclass(frozen=True)
class StageResults:
    """The results of the stages before the grid; `notes` are its lines for people.

    centre                   where the scout found the optimum; None: as the grid supposes
    lr_factor, batch_factor  what the tuning study multiplies the rules by
    """

    centre: CentreConfig | None = None
    lr_factor: float = 1.0
    batch_factor: float = 1.0
    notes: tuple[str, ...] = ()

    def applied(self, grid: GridConfig) -> GridConfig:
        """The grid with what was learned in place of what was supposed."""
        chosen = replace(
            grid.rules,
            lr_factor=grid.rules.lr_factor * self.lr_factor,
            batch_factor=grid.rules.batch_factor * self.batch_factor,
        )
        return replace(grid, centre=self.centre or grid.centre, rules=chosen)

    def has(self, stage: Stage) -> bool:
        """Whether a sweep has gone through one of its early stages, whatever that found."""
        return any(note.startswith(f"{stage}: ") for note in self.notes)


@dataclass(frozen=True)
class Plan:
    """Trials in running order, longest first, and the cells that are not run.

    grid     as it was asked for; `learned` holds what earlier stages corrected
    stage    what its trials are for (stages.py): those of earlier stages are among them

    dataset_tokens, step_time and memory_bytes are what it was planned by; None: not known.
    """

    setting: str
    base: TrainConfig
    grid: GridConfig
    trials: tuple[Trial, ...]
    left_out: tuple[SkippedCell, ...]
    stage: Stage = "grid"
    learned: StageResults = StageResults()
    dataset_tokens: int | None = None
    step_time: TimeModel | None = None
    memory_bytes: int | None = None

    @property
    def corrected_grid(self) -> GridConfig:
        """The grid with what earlier stages found in place of what was supposed."""
        return self.learned.applied(self.grid)


def plan_grid(
    base: TrainConfig,
    grid: GridConfig,
    dataset_tokens: int | None,
    step_time: TimeModel | None = None,
    learned: StageResults = StageResults(),
) -> Plan:
    """The trials of `grid` and of its horizons and controls; what it does not set is as in `base`.

    `dataset_tokens` is the length of the training split (None: not known, epochs unchecked).
    `step_time` predicts seconds; without it the order is by budget, then by steps. A cell where a
    rule does not hold is left out. Raises BadInput when no cell is left.
    """
    asked, grid = grid, learned.applied(grid)
    made, middle = CellTrials(step_time), sorted(grid.budgets)[len(grid.budgets) // 2]
    for budget in sorted(grid.budgets):
        why = "" if isinstance(grid.ladder, tuple) else reason_off_ladder(base, grid, budget)
        cells = []
        for shape in shapes_at(base, grid, budget):
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
                for arm, found in control_configs(config, grid.controls):
                    made.add(budget, config.model, found, arm)
    made.require_any()
    for budget, shape in _horizons(base, grid):
        found = cell_config(base, grid, budget, shape, dataset_tokens)
        made.add(budget, shape, found, "horizons")
    plan = Plan(
        setting_digest(base),
        base,
        asked,
        trials=(),
        left_out=tuple(made.left_out),
        learned=learned,
        dataset_tokens=dataset_tokens,
        step_time=step_time,
    )
    return merge_plans(plan, made.trials)


class CellTrials:
    """The trials of a plan's cells, as they are added, and the cells that cannot be run."""

    def __init__(self, step_time: TimeModel | None):
        self.trials: list[Trial] = []
        self.left_out: list[SkippedCell] = []
        self._step_time = step_time

    def add(self, budget: float, shape: GPTConfig, found: TrainConfig | str, arm: Arm) -> None:
        """A cell's config, or the reason why it has none."""
        if isinstance(found, TrainConfig):
            self.trials.append(trial_of(found, budget, arm, self._step_time))
        else:
            self.left_out.append(SkippedCell(budget, shape.n_layer, shape.n_embd, found))

    def require_any(self) -> None:
        """BadInput where no cell can be run."""
        if not self.trials:
            refuse_empty(self.left_out)


def trial_of(config: TrainConfig, budget: float, arm: Arm, step_time: TimeModel | None) -> Trial:
    """The trial that runs `config`."""
    predicted_s = step_time.trial_s(config) if step_time else None
    return Trial(trial_id(config), budget, config, predicted_s, arm)


def merge_plans(plan: Plan, trials: Iterable[Trial]) -> Plan:
    """The plan with these trials too, in running order, each id once and in its first arm.

    A stage before the grid keeps the arms of its own trials: its results rest on all of them, even
    on those that an earlier grid had.
    """
    merged = {trial.id: trial for trial in plan.trials} if plan.stage != "grid" else {}
    own = set(merged)
    for trial in (*plan.trials, *trials):
        there = merged.get(trial.id)
        if there is None or (trial.id not in own and _rank(trial.arm) < _rank(there.arm)):
            merged[trial.id] = trial
    return replace(plan, trials=tuple(sorted(merged.values(), key=_running_order)))


def refuse_empty(left_out: Sequence[SkippedCell]) -> NoReturn:
    """Say of the cell with the best chance why not even that one can be run."""
    worst = max(left_out, key=lambda cell: (cell.flops_budget, -cell.n_layer, -cell.n_embd))
    if worst.reason.startswith("grid.rules"):
        raise BadInput(worst.reason)
    raise BadInput(
        f"grid.budgets: no size fits; at {worst.flops_budget:g} FLOP the smallest, "
        f"({worst.n_layer}, {worst.n_embd}): {worst.reason}"
    )


def seeds_of(grid: GridConfig, budget: float) -> int:
    """Runs of a cell of this budget that is not the one nearest the expected optimum."""
    lowest = budget == min(grid.budgets)
    return max(grid.seeds, grid.seeds_at_lowest_budget) if lowest else grid.seeds


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


def _rank(arm: Arm) -> int:
    return _ORDER.index(arm) if arm in _ORDER else len(_ORDER)


def _running_order(trial: Trial) -> tuple[float, float, int, str]:
    steps = trial.config.schedule.steps
    return (-(trial.predicted_s or 0.0), -trial.flops_budget, -steps, trial.id)
