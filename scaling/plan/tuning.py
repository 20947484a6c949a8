"""The bracketing study: learning rate x batch at a few cells, and how it corrects the rules.

A published rule is another trainer's: its exponents travel, its coefficients need not. At each cell
every learning rate meets every batch; the best pair is the minimum of a quadratic in both
logarithms, or, where runs are missing, of a parabola in each (other_laws/hyperparameters.py). The
coefficients are corrected by the geometric mean over the cells. An optimum at the end of the values
tried does not count: the row is extended once on that side, and then given up.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from model.config import GPTConfig
from model.flops import flops_per_token_exact
from scaling.fit.other_laws import best_value
from scaling.plan.config import GridConfig
from scaling.plan.grid import CellTrials
from scaling.plan.ladder import nearest, rungs, shape_of
from scaling.plan.pilot import Records
from scaling.plan.plan import Plan, StageResults, Trial
from scaling.plan.rules import LEARNING_RATES, STABLE_LR
from scaling.plan.transfer import TunedCell, verdict
from scaling.plan.trial_config import cell_config, reason_off_ladder, shapes_at
from training.config import TrainConfig
from training.trial.record import RunRecord

Knob = Literal["lr", "batch"]
_NAMES: Mapping[Knob, str] = {"lr": "learning rate", "batch": "batch"}
_INDEX: Mapping[Knob, int] = {"lr": 0, "batch": 1}
_DISAGREE = 2.0  # between the corrections of two cells: then the rule's exponents are off


@dataclass(frozen=True)
class Study:
    """The runs of a cell: (factor of the rule's learning rate, of its batch, loss); inf: diverged.

    Where the rule's learning rate `lr` is `capped`, its optimum says nothing about the coefficient.
    `batch_tokens` is the rule's batch.
    """

    budget: float
    shape: GPTConfig
    runs: tuple[tuple[float, float, float], ...]
    capped: bool = False
    lr: float = math.nan
    batch_tokens: int = 0

    @property
    def name(self) -> str:
        """The cell, for people."""
        return f"{self.budget:.2g} FLOP {self.shape.n_layer}x{self.shape.n_embd}"

    @property
    def best(self) -> tuple[float, float]:
        """The pair of factors with the lowest loss."""
        lr, batch, _ = min(self.runs, key=lambda run: run[2])
        return lr, batch

    def row(self, knob: Knob) -> tuple[list[float], np.ndarray]:
        """The factors of a knob that were tried, rising, and the lowest loss of each."""
        least: dict[float, float] = {}
        for run in self.runs:
            factor = run[_INDEX[knob]]
            least[factor] = min(run[2], least.get(factor, math.inf))
        factors = sorted(least)
        return factors, np.array([least[factor] for factor in factors])

    def open_end(self, knob: Knob) -> int | None:
        """0 or -1 where the lowest loss is at the first or last factor tried, else None."""
        factors, losses = self.row(knob)
        least = int(np.argmin(losses))
        if not np.isfinite(losses[least]):
            return None
        return {0: 0, len(factors) - 1: -1}.get(least)

    def optimum(self, knob: Knob) -> tuple[float, str | None]:
        """The best factor, or why there is none."""
        factors, losses = self.row(knob)
        if knob == "lr" and self.capped:
            return math.nan, f"the rule's learning rate is capped at {STABLE_LR:g} there"
        finite = np.isfinite(losses)
        if not finite.any():
            return math.nan, "no run is done"
        least = int(np.argmin(losses))
        beside = losses[max(0, least - 1) : least + 2]
        if 0 < least < len(losses) - 1 and not np.isfinite(beside).all():
            return factors[least], None  # bracketed by a run that diverged: no parabola
        value, reason = best_value(np.log(np.array(factors)[finite]), losses[finite])
        joint = self._joint() if reason is None else None
        return (joint[_INDEX[knob]] if joint else value), reason

    def _joint(self) -> tuple[float, float] | None:
        """The minimum of a quadratic in both logarithms near the best pair, if it is among those.

        The best learning rate rises with the batch, so the two parabolas alone, each read at the
        nearest value of the other knob that was tried, are off by part of a step.
        """
        near, limits = np.array(self.runs), []
        for index, knob in enumerate(_NAMES):
            factors, _ = self.row(knob)
            at = factors.index(self.best[index])
            low, high = factors[max(0, at - 1)], factors[min(len(factors) - 1, at + 1)]
            near = near[(near[:, index] >= low) & (near[:, index] <= high)]
            limits.append((low, high))
        near = near[np.isfinite(near[:, 2])]
        x, y = np.log(near[:, 0]), np.log(near[:, 1])
        design = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
        if len(near) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
            return None
        _, a, b, aa, ab, bb = np.linalg.lstsq(design, near[:, 2], rcond=None)[0]
        bends = np.array([[2 * aa, ab], [ab, 2 * bb]])
        if not (np.linalg.eigvalsh(bends) > 0).all():
            return None
        lr, batch = np.exp(np.linalg.solve(bends, [-a, -b]))
        inside = all(low < v < high for v, (low, high) in zip((lr, batch), limits, strict=True))
        return (float(lr), float(batch)) if inside else None


def tuning_trials(plan: Plan) -> CellTrials:
    """Every learning rate with every batch at each cell of the study."""
    grid, made = plan.corrected_grid, CellTrials(plan.step_time, plan.arm)
    assert grid.tuning
    for budget, shape in _cells(plan, grid):
        for pair in itertools.product(grid.tuning.lr_factors, grid.tuning.batch_factors):
            made.add(budget, shape, _config(plan, grid, budget, shape, *pair), "tuning")
    made.require_any()
    return made


def extend_sweep(plan: Plan, records: Records) -> list[Trial]:
    """Two values more past each open end of a row that has not been extended before."""
    grid = plan.corrected_grid
    assert grid.tuning
    asked = {"lr": grid.tuning.lr_factors, "batch": grid.tuning.batch_factors}
    made = CellTrials(plan.step_time, plan.arm)
    for study in studies(plan, records):
        for knob in _NAMES:
            end, (factors, _), known = study.open_end(knob), study.row(knob), asked[knob]
            if end is None or len(known) < 2 or len(factors) > len(known):
                continue
            step = known[0] / known[1] if end == 0 else known[-1] / known[-2]
            for power in (1, 2):
                pair = list(study.best)
                pair[_INDEX[knob]] = factors[end] * step**power
                found = _config(plan, grid, study.budget, study.shape, *pair)
                made.add(study.budget, study.shape, found, "tuning")
    planned = {trial.id for trial in plan.trials if trial.part == "tuning"}
    return [trial for trial in made.trials if trial.id not in planned]


def tuning_results(plan: Plan, records: Records) -> StageResults:
    """The results so far, with the corrections of the learning rate and of the batch."""
    corrections: dict[Knob, float] = {}
    notes = list(plan.learned.notes)
    prefix = f"tuning: {plan.arm}: " if plan.arm else "tuning: "
    tried = studies(plan, records)
    for knob, name in _NAMES.items():
        found = [(study, *study.optimum(knob)) for study in tried if len(study.row(knob)[0]) > 1]
        best = [factor for _, factor, reason in found if reason is None]
        # Rounded, so that every worker, on whatever machine, makes the same plan of it.
        mean = float(f"{math.exp(sum(map(math.log, best)) / len(best)):.3g}") if best else 1.0
        corrections[knob] = mean
        by_cell = "; ".join(
            f"{study.name}: "
            + (f"x{factor:.2g}" if reason is None else f"does not count, {reason}")
            for study, factor, reason in found
        )
        text = f"{prefix}{name} x{mean:g} of the rule" if best else f"{prefix}{name} as the rule"
        text += f" ({by_cell})" if by_cell else " (one value was tried)"
        if best and max(best) > _DISAGREE * min(best):
            text += (
                f"; the cells differ by x{max(best) / min(best):.2g}: the rule's exponents are off"
            )
        notes.append(text)
    tuning, cells = plan.grid.tuning, [_tuned(study) for study in tried]
    assert tuning
    asked = plan.base.model.parametrization != "standard"
    if told := verdict(cells, asked, named=not isinstance(tuning.cells, int)):
        notes.append(f"{prefix}{told}")
    return replace(
        plan.learned,
        lr_factor=corrections["lr"],
        batch_factor=corrections["batch"],
        notes=tuple(notes),
    )


def _tuned(study: Study) -> TunedCell:
    # A cap of the rule is none of the rates tried: the optimum is one, though no coefficient.
    factor, reason = replace(study, capped=False).optimum("lr")
    factors, _ = study.row("lr")
    return TunedCell(
        study.shape.n_embd,
        study.budget / flops_per_token_exact(study.shape),
        study.batch_tokens,
        None if reason else factor * study.lr,
        min((high / low for low, high in itertools.pairwise(factors)), default=1.0),
    )


def studies(plan: Plan, records: Records) -> list[Study]:
    """The cells of the study, in order of budget and shape.

    Runs that failed or ran out of memory say nothing about a learning rate and are left out.
    """
    grid = plan.corrected_grid
    cells: dict[tuple[float, int, int], list[Trial]] = {}
    for trial in sorted(plan.trials, key=lambda trial: trial.id):
        record, model = records.get(trial.id), trial.config.model
        if trial.part == "tuning" and record and record.status in ("done", "diverged"):
            cells.setdefault((trial.flops_budget, model.n_layer, model.n_embd), []).append(trial)
    found = []
    for (budget, *_), trials in sorted(cells.items()):
        shape = trials[0].config.model
        rule = cell_config(plan.base, _with_fewer_steps(grid), budget, shape, plan.dataset_tokens)
        if isinstance(rule, TrainConfig):
            runs = tuple(_run(trial.config, rule, records[trial.id]) for trial in trials)
            capped = rule.optimizer.lr >= LEARNING_RATES[grid.rules.lr].cap
            lr, batch = rule.optimizer.lr, rule.schedule.batch_tokens
            found.append(Study(budget, shape, runs, capped, lr, batch))
    return found


def _run(config: TrainConfig, rule: TrainConfig, record: RunRecord) -> tuple[float, float, float]:
    # Three digits: the fourth is rounding, and a factor is to be one value in all runs.
    lr = float(f"{config.optimizer.lr / rule.optimizer.lr:.3g}")
    batch = float(f"{config.schedule.batch_tokens / rule.schedule.batch_tokens:.3g}")
    return lr, batch, math.inf if record.loss is None else record.loss


def _cells(plan: Plan, grid: GridConfig) -> list[tuple[float, GPTConfig]]:
    """The (budget, shape) to tune at; the budgets as high as the study's share of cost allows."""
    assert grid.tuning
    asked, n_effective = grid.tuning.cells, grid.centre.n_effective
    if not isinstance(asked, int):
        ladder = rungs(grid.ladder, plan.base.model)
        return [
            (
                cell.flops,
                shape_of(cell.shape, plan.base.model)
                if cell.shape
                else nearest(ladder, n_effective(cell.flops), 1)[0],
            )
            for cell in asked
        ]
    sizes = {budget: _feasible(plan, grid, budget) for budget in sorted(grid.budgets)}
    budgets = [budget for budget in sizes if sizes[budget]]
    if not budgets:
        low = min(grid.budgets)
        return [(low, shape) for shape in shapes_at(plan.base, grid, low)]
    runs = len(grid.tuning.lr_factors) * len(grid.tuning.batch_factors)
    total = sum(budget * len(sizes[budget]) for budget in budgets)
    chosen: list[tuple[float, GPTConfig]] = []
    for top in reversed(range(len(budgets))):
        low, middle, high = budgets[0], budgets[top // 2], budgets[top]
        central = {c: nearest(sizes[c], n_effective(c), 1)[0] for c in (low, middle)}
        at_middle = central[middle] if middle > low else sizes[low][0]
        chosen = [(low, central[low]), (middle, at_middle), (high, sizes[high][-1])][:asked]
        if runs * sum(budget for budget, _ in chosen) <= grid.tuning.cost * total:
            break
    return list(dict.fromkeys(chosen))


def _feasible(plan: Plan, grid: GridConfig, budget: float) -> list[GPTConfig]:
    if reason_off_ladder(plan.base, grid, budget) and not isinstance(grid.ladder, tuple):
        return []
    return [
        shape
        for shape in shapes_at(plan.base, grid, budget)
        if not isinstance(cell_config(plan.base, grid, budget, shape, plan.dataset_tokens), str)
    ]


def _config(
    plan: Plan, grid: GridConfig, budget: float, shape: GPTConfig, lr: float, batch: float
) -> TrainConfig | str:
    """The config of one cell at multiples of the rule's learning rate and batch, or why not."""
    some, tokens = _with_fewer_steps(grid), plan.dataset_tokens
    found = cell_config(plan.base, some, budget, shape, tokens, lr, batch)
    reason = f"{found} (learning rate x{lr:g}, batch x{batch:g})"
    return reason if isinstance(found, str) else found


def _with_fewer_steps(grid: GridConfig) -> GridConfig:
    """The grid with room for the largest batch of the study: a larger batch is fewer steps."""
    assert grid.tuning
    fewest = math.floor(grid.min_steps / grid.tuning.batch_factors[-1])
    if grid.rules.warmup == "parameters":  # a hundred steps of it, and as many again
        fewest = max(fewest, 200)
    return replace(grid, min_steps=max(1, min(fewest, grid.min_steps)))
