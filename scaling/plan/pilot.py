"""Where the optimum of a budget lies by a sweep's own runs: a scout's centre, and open curves."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from model.config import GPTConfig
from model.flops import params_effective
from scaling.fit.isoflop import Profile, find_profiles, minima
from scaling.fit.observations import Observations
from scaling.plan.config import CentreConfig, GridConfig, Part, ScoutConfig
from scaling.plan.grid import CellTrials
from scaling.plan.ladder import rungs, spread
from scaling.plan.plan import Plan
from scaling.plan.trial_config import cell_config
from training.config import TrainConfig
from training.trial.record import RunRecord

Records = Mapping[str, RunRecord]

RUNGS_OUTWARD = 2
# Published exponents of N* lie within it; two coarse curves can say no more than that.
_EXPONENTS = (0.4, 0.6)


def scout_trials(plan: Plan) -> CellTrials:
    """Coarse IsoFLOP curves at two budgets, wide about the centre that the grid supposes."""
    grid, made = plan.corrected_grid, CellTrials(plan.step_time, plan.arm)
    assert grid.scout
    ladder = rungs(grid.ladder, plan.base.model)
    for budget in scout_budgets(grid, grid.scout):
        expected, span = grid.centre.n_effective(budget), grid.scout.span
        for shape in spread(ladder, expected / span, expected * span, grid.scout.sizes):
            found = cell_config(plan.base, grid, budget, shape, plan.dataset_tokens)
            made.add(budget, shape, found, "scout")
    made.require_any()
    return made


def scout_budgets(grid: GridConfig, scout: ScoutConfig) -> tuple[float, float]:
    """The budgets of the two curves."""
    return scout.budgets or (min(grid.budgets), 4 * min(grid.budgets))


def scouted_centre(plan: Plan, records: Records) -> tuple[CentreConfig | None, str]:
    """The centre by the scout's IsoFLOP curves, and the line that states it.

    Two minima give the exponent, held within what is published; one gives the tokens per
    parameter alone; none leaves the centre as it was supposed.
    """
    curves = curves_of(plan, records, "scout")
    found = [(v.flops, float(np.exp(_log_minimum(v)))) for v in curves if v.reason is None]
    said = "; ".join(
        f"{v.flops:.3g} FLOP: "
        + (f"N_effective {np.exp(_log_minimum(v)):.3g}" if v.reason is None else str(v.reason))
        for v in curves
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


def curves_of(plan: Plan, records: Records, part: Part) -> tuple[Profile, ...]:
    """The curves of the budgets all of whose trials of a part have ended, lowest budget first."""
    trials = [trial for trial in plan.trials if trial.part == part]
    open_budgets = {trial.flops_budget for trial in trials if trial.id not in records}
    runs = [
        (trial, records[trial.id])
        for trial in sorted(trials, key=lambda trial: trial.id)
        if trial.flops_budget not in open_budgets and records[trial.id].status == "done"
    ]
    sizes = np.array([params_effective(trial.config.model) for trial, _ in runs], dtype=float)
    tokens = np.array([trial.config.schedule.tokens_planned for trial, _ in runs], dtype=float)
    return find_profiles(
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


def outer_cells(
    plan: Plan, records: Records, part: Part
) -> tuple[list[tuple[float, TrainConfig]], list[str]]:
    """New cells on the open side of the part's open curves; a line on each without a minimum.

    A budget some of whose trials have not ended is left alone, and so is a curve with a minimum.
    """
    cells, notes, grid = [], [], plan.corrected_grid
    for curve in curves_of(plan, records, part):
        if not curve.open_edge:
            if curve.reason:
                notes.append(f"{curve.flops:.3g} FLOP: {curve.reason}; neither side is open")
            continue
        larger = int(np.argmin(curve.loss)) >= len(curve.loss) / 2
        planned = [
            params_effective(trial.config.model)
            for trial in plan.trials
            if trial.part == part and trial.flops_budget == curve.flops
        ]
        found, why = [], "the ladder ends there"
        for shape in _beyond(rungs(grid.ladder, plan.base.model), planned, larger):
            config = cell_config(plan.base, grid, curve.flops, shape, plan.dataset_tokens)
            if isinstance(config, TrainConfig):
                found.append(config)
            else:
                why = config
                break
        cells += [(curve.flops, config) for config in found]
        added = ", ".join(f"{c.model.n_layer}x{c.model.n_embd}" for c in found)
        side = "larger" if larger else "smaller"
        notes.append(
            f"{curve.flops:.3g} FLOP: {curve.reason}; "
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


def _log_minimum(curve: Profile) -> float:
    return float(minima(curve, curve.loss[None])[0][0])
