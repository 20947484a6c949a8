"""A sweep in stages: scout, tuning, grid. The runs of each correct the plan of the next.

    scout   two coarse IsoFLOP curves at low budgets find where the optimum lies (pilot.py)
    tuning  learning rate x batch at a few cells corrects the rules' coefficients (tuning.py)
    grid    what was asked for, about that centre and by the corrected rules

A grid has the first two only where it asks for them. The scout is the baseline's alone, since all
arms have its sizes; each arm has its own tuning. What follows a stage is a pure function of its
plan and its records, rounded where arithmetic might differ between machines: any worker may take
the step, two that take it at once write the same, and one that is killed loses nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from scaling.plan.config import GridConfig
from scaling.plan.cost import TimeModel
from scaling.plan.grid import plan_grid, seeds_of, trial_of
from scaling.plan.memory import drop_oversized_cells
from scaling.plan.pilot import Records, outer_cells, scout_budgets, scout_trials, scouted_centre
from scaling.plan.plan import Plan, Stage, StageResults, Trial, by_arm, merge_plans
from scaling.plan.tuning import extend_sweep, tuning_results, tuning_trials
from training.config import TrainConfig
from training.trial.identity import science

# A scout's curve that is still open at so many times its sizes is given up.
_SCOUT_GROWTH = 2


def stages_of(grid: GridConfig) -> list[Stage]:
    """The stages that a grid goes through, in order."""
    early: dict[Stage, object] = {"scout": grid.scout, "tuning": grid.tuning}
    return [*(stage for stage, asked in early.items() if asked), "grid"]


def plan_stages(
    base: TrainConfig,
    grid: GridConfig,
    dataset_tokens: int | None,
    step_time: TimeModel | None = None,
    memory_bytes: int | None = None,
    learned: StageResults | None = None,
) -> list[Plan]:
    """The plan of every stage as if none corrected the next: what a sweep will cost.

    The first is the one to begin with. A stage whose results `learned`, of an earlier grid of the
    sweep, holds is not run again. Cells that no device of `memory_bytes` can hold are left
    out. Raises BadInput where the grid itself, as supposed, could not be run.
    """
    known = (learned or StageResults()).for_arms(grid)
    whole = plan_grid(base, grid, dataset_tokens, step_time, known)
    whole = drop_oversized_cells(replace(whole, memory_bytes=memory_bytes))
    early = _ahead(grid, whole.learned)[:-1]
    return [*(_enter(replace(whole, trials=()), stage) for stage in early), whole]


def stage_results(plan: Plan) -> StageResults | None:
    """Results of a sweep's early stages, be they of an earlier grid; None where it had none."""
    return plan.learned if plan.stage == "grid" and plan.learned.notes else None


def next_plan(plan: Plan, records: Records) -> Plan | None:
    """The plan to follow when every trial of `plan` has ended; None: the last stage, or not yet.

    Trials of earlier stages stay in it. Raises BadInput where no cell is left.
    """
    if plan.stage == "grid" or any(trial.id not in records for trial in plan.trials):
        return None
    if plan.stage == "scout":
        baseline = by_arm(plan)[0]
        more = list(_scout_outward(baseline, baseline.corrected_grid, records))
        if more:
            return _with(plan, more)
        centre, note = scouted_centre(baseline, records)
        learned = replace(plan.learned, centre=centre, notes=(*plan.learned.notes, note))
        return _enter(replace(plan, learned=learned), _ahead(plan.grid, learned)[0])
    untuned = [arm for arm in by_arm(plan) if not plan.learned.has("tuning", arm.arm)]
    more = [trial for arm in untuned for trial in extend_sweep(arm, records)]
    if more:
        return _with(plan, more)
    learned = plan.learned
    for arm in untuned:
        found = tuning_results(arm, records)
        notes = found.notes[len(plan.learned.notes) :]
        learned = learned.with_tuning(arm.arm, found, notes)
    return _enter(replace(plan, learned=learned), "grid")


def add_outer_sizes(plan: Plan, records: Records) -> tuple[Plan, list[str]]:
    """The plan with sizes added on the open side of each open IsoFLOP curve, and a line on each.

    Only budgets all of whose trials have ended are judged.
    """
    trials, notes = [], []
    for arm in by_arm(plan):
        grid = arm.corrected_grid
        cells, found = outer_cells(arm, records, "grid")
        notes += [f"{arm.arm}: {note}" if arm.arm else note for note in found]
        for budget, config in cells:
            repeats = (replace(config, seed=config.seed + n) for n in range(seeds_of(grid, budget)))
            trials += [trial_of(one, budget, "grid", plan.step_time, arm.arm) for one in repeats]
    return drop_oversized_cells(merge_plans(plan, trials)), notes


def requested_ids(plan: Plan) -> set[str]:
    """Ids of the trials that the plan's stage asks for, and of earlier stages; others are stale."""
    early = {trial.id for trial in plan.trials if trial.part in ("scout", "tuning")}
    if plan.stage != "grid":
        return early
    own = plan_grid(plan.base, plan.grid, plan.dataset_tokens, plan.step_time, plan.learned)
    return early | {trial.id for trial in own.trials}


def is_request_of(plan: Plan, base: TrainConfig, grid: GridConfig) -> bool:
    """Whether a stored plan, at whatever stage, came of this very request."""
    baselines = [list(one.arms or ())[:1] for one in (plan.grid, grid)]
    is_same_grid = plan.grid == grid and baselines[0] == baselines[1]
    return is_same_grid and science(plan.base) == science(base)


def _ahead(grid: GridConfig, learned: StageResults) -> list[Stage]:
    """The stages of a grid that are still to come."""

    def is_done(stage: Stage) -> bool:
        return stage != "grid" and all(learned.has(stage, arm) for arm in grid.arms or (None,))

    return [stage for stage in stages_of(grid) if not is_done(stage)]


def _with(plan: Plan, more: Sequence[Trial]) -> Plan:
    """The plan with more trials of its own stage."""
    return merge_plans(replace(plan, trials=tuple(more)), plan.trials)


def _enter(plan: Plan, stage: Stage) -> Plan:
    """The plan of a stage, with the trials of those before it."""
    if stage == "grid":
        own = plan_grid(plan.base, plan.grid, plan.dataset_tokens, plan.step_time, plan.learned)
    else:
        arms = by_arm(plan)
        if stage == "scout":
            made = [scout_trials(arms[0])]
        else:
            untuned = (arm for arm in arms if not plan.learned.has("tuning", arm.arm))
            made = [tuning_trials(arm) for arm in untuned]
        left_out = tuple(cell for one in made for cell in one.left_out)
        trials = (trial for one in made for trial in one.trials)
        own = merge_plans(replace(plan, trials=(), left_out=left_out), trials)
    own = replace(own, stage=stage, memory_bytes=plan.memory_bytes)
    return merge_plans(drop_oversized_cells(own), plan.trials)


def _scout_outward(plan: Plan, grid: GridConfig, records: Records) -> Iterator[Trial]:
    """More sizes for the scout's open curves, while these are not given up."""
    assert grid.scout
    limit = _SCOUT_GROWTH * grid.scout.sizes
    tried = {
        budget: sum(t.part == "scout" and t.flops_budget == budget for t in plan.trials)
        for budget in scout_budgets(grid, grid.scout)
    }
    for budget, config in outer_cells(plan, records, "scout")[0]:
        if tried[budget] < limit:
            yield trial_of(config, budget, "scout", plan.step_time, plan.arm)
