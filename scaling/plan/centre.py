"""Where the optimum of a budget lies by a sweep's own runs: a scout's centre, and open valleys."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from model.config import GPTConfig
from model.flops import params_effective
from scaling.fit.observations import Observations
from scaling.fit.valleys import Valley, find_valleys, vertices
from scaling.plan.arms import Arm, ScoutConfig
from scaling.plan.cells import cell
from scaling.plan.config import CentreConfig, GridConfig
from scaling.plan.grid import LeftOut, Plan, Trial, refuse_empty, trial_of
from scaling.plan.ladder import rungs, spread
from training.config import TrainConfig
from training.record import RunRecord

Records = Mapping[str, RunRecord]

RUNGS_OUTWARD = 2
# Published exponents of N* lie within it; two coarse valleys can say no more than that.
_EXPONENTS = (0.4, 0.6)


def scout_trials(plan: Plan, grid: GridConfig) -> tuple[list[Trial], list[LeftOut]]:
    """Coarse valleys at two budgets, wide about the centre that `grid` supposes."""
    assert grid.scout
    trials, left_out = [], []
    ladder = rungs(grid.ladder, plan.base.model)
    for budget in scout_budgets(grid, grid.scout):
        expected, span = grid.centre.n_effective(budget), grid.scout.span
        for shape in spread(ladder, expected / span, expected * span, grid.scout.sizes):
            found = cell(plan.base, grid, budget, shape, plan.dataset_tokens)
            if isinstance(found, TrainConfig):
                trials.append(trial_of(found, budget, "scout", plan.step_time))
            else:
                left_out.append(LeftOut(budget, shape.n_layer, shape.n_embd, found))
    if not trials:
        refuse_empty(left_out)
    return trials, left_out


def scout_budgets(grid: GridConfig, scout: ScoutConfig) -> tuple[float, float]:
    """The budgets of the two valleys."""
    return scout.budgets or (min(grid.budgets), 4 * min(grid.budgets))


def scouted_centre(plan: Plan, records: Records) -> tuple[CentreConfig | None, str]:
    """The centre by the scout's valleys, and what there is to say of it.

    Both valleys give the exponent, held within what is published; one gives the tokens per
    parameter alone; none leaves the centre as it was supposed.
    """
    valleys = valleys_of(plan, records, "scout")
    found = [(v.flops, float(np.exp(_log_vertex(v)))) for v in valleys if v.reason is None]
    said = "; ".join(
        f"{v.flops:.3g} FLOP: "
        + (f"N_effective {np.exp(_log_vertex(v)):.3g}" if v.reason is None else str(v.reason))
        for v in valleys
    )
    if not found:
        return None, f"scout: no optimum is bracketed ({said}); the centre stays as supposed"
    exponent = plan.grid.centre.exponent
    if len(found) > 1:
        (low, n_low), (high, n_high) = found[0], found[-1]
        slope = math.log(n_high / n_low) / math.log(high / low)
        exponent = min(max(slope, _EXPONENTS[0]), _EXPONENTS[1])
    flops = math.exp(sum(math.log(c) for c, _ in found) / len(found))
    size = math.exp(sum(math.log(n) for _, n in found) / len(found))
    # Rounded, so that every worker, on whatever machine, makes the same plan of it.
    centre = CentreConfig(
        flops=float(f"{flops:.4g}"),
        tokens_per_param=float(f"{flops / (6 * size**2):.3g}"),
        exponent=round(exponent, 3),
    )
    return centre, (
        f"scout: {centre.tokens_per_param:g} tokens per parameter at {centre.flops:.3g} FLOP, "
        f"N* growing as C^{centre.exponent:g} ({said})"
    )


def valleys_of(plan: Plan, records: Records, arm: Arm) -> tuple[Valley, ...]:
    """The valleys of the budgets all of whose trials of an arm have ended, lowest budget first."""
    trials = [trial for trial in plan.trials if trial.arm == arm]
    open_budgets = {trial.flops_budget for trial in trials if trial.id not in records}
    runs = [
        (trial, records[trial.id])
        for trial in sorted(trials, key=lambda trial: trial.id)
        if trial.flops_budget not in open_budgets and records[trial.id].status == "done"
    ]
    sizes = np.array([params_effective(trial.config.model) for trial, _ in runs], dtype=float)
    tokens = np.array([trial.config.schedule.tokens_seen for trial, _ in runs], dtype=float)
    return find_valleys(
        Observations(
            run_id=tuple(trial.id for trial, _ in runs),
            params=sizes,
            tokens=tokens,
            flops=6 * sizes * tokens,
            loss=np.array([record.loss for _, record in runs], dtype=float),
            flops_budget=np.array([trial.flops_budget for trial, _ in runs], dtype=float),
            loss_se=np.full(len(runs), np.nan),
        ),
        tolerance=0.0,
    )


def outward(
    plan: Plan, grid: GridConfig, records: Records, arm: Arm
) -> tuple[list[tuple[float, TrainConfig]], list[str]]:
    """New cells on the open side of the arm's open valleys; a line on each without a vertex.

    A budget some of whose trials have not ended is left alone, and so is a valley with a vertex.
    """
    cells, notes = [], []
    for valley in valleys_of(plan, records, arm):
        if not valley.open_edge:
            if valley.reason:
                notes.append(f"{valley.flops:.3g} FLOP: {valley.reason}; no side of it is open")
            continue
        larger = int(np.argmin(valley.loss)) >= len(valley.loss) / 2
        planned = [
            params_effective(trial.config.model)
            for trial in plan.trials
            if trial.arm == arm and trial.flops_budget == valley.flops
        ]
        found, why = [], "the ladder ends there"
        for shape in _beyond(rungs(grid.ladder, plan.base.model), planned, larger):
            config = cell(plan.base, grid, valley.flops, shape, plan.dataset_tokens)
            if isinstance(config, TrainConfig):
                found.append(config)
            else:
                why = config
                break
        cells += [(valley.flops, config) for config in found]
        added = ", ".join(f"{c.model.n_layer}x{c.model.n_embd}" for c in found)
        side = "larger" if larger else "smaller"
        notes.append(
            f"{valley.flops:.3g} FLOP: {valley.reason}; "
            + (f"adding {added}" if found else f"no {side} size can be added: {why}")
        )
    return cells, notes


def _beyond(
    ladder: Sequence[GPTConfig], planned: Sequence[int], larger: bool
) -> Sequence[GPTConfig]:
    """The next rungs past the largest, or the smallest, that was planned, the nearest first."""
    if larger:
        return [s for s in ladder if params_effective(s) > max(planned)][:RUNGS_OUTWARD]
    return [s for s in ladder if params_effective(s) < min(planned)][::-1][:RUNGS_OUTWARD]


def _log_vertex(valley: Valley) -> float:
    return float(vertices(valley, valley.loss[None], "parabola")[0][0])
