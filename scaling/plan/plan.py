"""What a sweep is to run: trials in running order, what was learned, and the cells left out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from scaling.plan.arms import Arm, arms_of
from scaling.plan.config import CentreConfig, GridConfig, Part
from scaling.plan.cost import TimeModel
from scaling.plan.trunks import branches_of
from training.config import TrainConfig

Stage = Literal["scout", "tuning", "grid"]
# Of the parts that ask for one and the same trial the first has it.
_ORDER: tuple[Part, ...] = ("grid", "horizons", "tuning", "scout")


@dataclass(frozen=True)
class Trial:
    """One run to make; `flops_budget` is what was asked, before rounding to whole batches.

    part  of the sweep; of several arms the first by order of parts
    arms  those that ask for it, and as what part; empty where the grid has none
    """

    id: str
    flops_budget: float
    config: TrainConfig
    predicted_s: float | None
    part: Part = "grid"
    arms: tuple[tuple[str, Part], ...] = ()


@dataclass(frozen=True)
class SkippedCell:
    """A cell of the grid that is not run, and why."""

    flops_budget: float
    n_layer: int
    n_embd: int
    reason: str
    arm: str | None = None


@dataclass(frozen=True)
class RuleFactors:
    """What the tuning study of one arm multiplies its rules by."""

    lr_factor: float = 1.0
    batch_factor: float = 1.0


@dataclass(frozen=True)
class StageResults:
    """The results of the stages before the grid; `notes` are its lines for people.

    centre                   where the scout found the optimum; None: as the grid supposes
    lr_factor, batch_factor  what the tuning study multiplies the rules by
    arms                     the same of each arm that has been tuned, in a grid with arms
    """

    centre: CentreConfig | None = None
    lr_factor: float = 1.0
    batch_factor: float = 1.0
    notes: tuple[str, ...] = ()
    arms: dict[str, RuleFactors] = field(default_factory=dict)

    def applied(self, grid: GridConfig) -> GridConfig:
        """The grid with what was learned in place of what was supposed."""
        chosen = replace(
            grid.rules,
            lr_factor=grid.rules.lr_factor * self.lr_factor,
            batch_factor=grid.rules.batch_factor * self.batch_factor,
        )
        return replace(grid, centre=self.centre or grid.centre, rules=chosen)

    def for_arms(self, grid: GridConfig) -> "StageResults":
        """What a grid without arms learned, as its baseline's, where arms are added to it."""
        if not grid.arms or self.arms or not self.has("tuning"):
            return self
        known = RuleFactors(self.lr_factor, self.batch_factor)
        return replace(self, lr_factor=1.0, batch_factor=1.0, arms={next(iter(grid.arms)): known})

    def with_tuning(
        self, arm: str | None, found: "StageResults", notes: tuple[str, ...]
    ) -> "StageResults":
        """With what the tuning study of an arm found, and its notes."""
        if arm is None:
            return found
        notes = (*self.notes, *notes)
        arms = {**self.arms, arm: RuleFactors(found.lr_factor, found.batch_factor)}
        return replace(self, notes=notes, arms=arms)

    def of(self, arm: str | None) -> "StageResults":
        """What was learned for one arm."""
        return replace(self, **vars(self.arms.get(arm, RuleFactors()))) if arm else self

    def has(self, stage: Stage, arm: str | None = None) -> bool:
        """Whether a sweep has gone through one of its early stages, whatever that found."""
        if stage == "tuning" and arm is not None:
            return arm in self.arms
        return any(note.startswith(f"{stage}: ") for note in self.notes)


NOTHING_LEARNED = StageResults()


@dataclass(frozen=True)
class Plan:
    """Trials in running order, longest first, and the cells that are not run.

    grid     as it was asked for; `learned` holds what earlier stages corrected
    stage    what its trials are for (stages.py): those of earlier stages are among them
    arm      whose part of a sweep this is (`of_arm`), in memory alone; None: the whole

    dataset_tokens, step_time and memory_bytes are what it was planned by; None: not known.
    """

    setting: str
    base: TrainConfig
    grid: GridConfig
    trials: tuple[Trial, ...]
    left_out: tuple[SkippedCell, ...]
    stage: Stage = "grid"
    learned: StageResults = NOTHING_LEARNED
    dataset_tokens: int | None = None
    step_time: TimeModel | None = None
    memory_bytes: int | None = None
    arm: str | None = None

    @property
    def corrected_grid(self) -> GridConfig:
        """The grid with what earlier stages found in place of what was supposed."""
        return self.learned.applied(self.grid)


def merge_plans(plan: Plan, trials: Iterable[Trial]) -> Plan:
    """The plan with these trials too, in running order, each id once and in its first part.

    A stage before the grid keeps the parts of its own trials: its results rest on all of them, even
    on those that an earlier grid had. Each arm has its own part in a trial that several ask for.
    """
    merged = {trial.id: trial for trial in plan.trials} if plan.stage != "grid" else {}
    own = set(merged)
    for trial in (*plan.trials, *trials):
        there = merged.get(trial.id)
        if there is None:
            merged[trial.id] = trial
        elif there.arms or trial.arms:
            merged[trial.id] = _of_both(there, trial, trial.id in own)
        elif trial.id not in own and _rank(trial.part) < _rank(there.part):
            merged[trial.id] = trial
    found = tuple(merged.values())
    if plan.grid.trunk:
        found = tuple(_predicted(found, plan.step_time))
    return replace(plan, trials=tuple(sorted(found, key=_running_order)))


def _of_both(there: Trial, trial: Trial, is_own: bool) -> Trial:
    """A trial with the arms of both, each as its first part, or with `is_own` as it was there."""
    arms = dict(there.arms)
    for name, part in trial.arms:
        known = arms.get(name)
        if known is None or (not is_own and _rank(part) < _rank(known)):
            arms[name] = part
    return replace(there, part=main_part(arms.values()), arms=tuple(arms.items()))


def _predicted(trials: Sequence[Trial], step_time: TimeModel | None) -> Iterator[Trial]:
    """Trials with the seconds that each takes itself, where others have a part of its steps."""
    branches = branches_of((trial.id, trial.config) for trial in trials)
    for trial in trials:
        branch = branches.get(trial.id)
        if branch is None or step_time is None:
            yield trial
        else:
            own = 1 - branch.step / trial.config.schedule.steps
            yield replace(trial, predicted_s=own * step_time.trial_s(trial.config))


def main_part(parts: Iterable[Part]) -> Part:
    """Of several parts that ask for one trial the one that has it."""
    return min(parts, key=_rank)


def of_arm(plan: Plan, arm: Arm) -> Plan:
    """An arm's part of a plan, as if it were the plan of a grid without arms."""
    if arm.name is None:
        return plan
    trials = tuple(
        replace(trial, part=part)
        for trial in plan.trials
        for name, part in trial.arms
        if name == arm.name
    )
    return replace(
        plan,
        base=arm.base,
        grid=arm.grid,
        trials=trials,
        left_out=tuple(cell for cell in plan.left_out if cell.arm == arm.name),
        learned=plan.learned.of(arm.name),
        arm=arm.name,
    )


def by_arm(plan: Plan) -> list[Plan]:
    """The parts of a plan's arms, the baseline first; the plan itself where it has none."""
    return [of_arm(plan, arm) for arm in arms_of(plan.base, plan.grid)]


def by_arms_of(grid: GridConfig, plan: Plan) -> list[Trial]:
    """An earlier plan's trials with those of their arms that a grid has.

    Of a plan without arms they are the baseline's, if that changes nothing.
    """
    if not grid.arms:
        return [replace(trial, arms=()) for trial in plan.trials]
    baseline, changes = next(iter(grid.arms.items()))
    found = []
    for trial in plan.trials:
        arms = tuple((name, part) for name, part in trial.arms if name in grid.arms)
        if plan.grid.arms is None and not changes:
            arms = ((baseline, trial.part),)
        found.append(replace(trial, arms=arms))
    return found


def _rank(part: Part) -> int:
    return _ORDER.index(part) if part in _ORDER else len(_ORDER)


def _running_order(trial: Trial) -> tuple[float, float, int, str]:
    steps = trial.config.schedule.steps
    return (-(trial.predicted_s or 0.0), -trial.flops_budget, -steps, trial.id)
