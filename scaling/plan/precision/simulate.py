"""The intervals that a grid would give, before anything is spent.

Losses are simulated at the plan's own cells, seeds and all, from an assumed law with noise, and the
estimators of `scaling.fit` are run on each simulated table. The spread of their estimates over the
simulations is the interval to expect, its middle less the law's own exponent the bias. What the
simulation leaves out (untuned runs, another form of law) no interval holds; Porian et al. (2024)
find such errors of set-up to be 0.03 to 0.13 in a, far above the noise.

Shapes: n cells, S simulations.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from model.flops import params_effective
from scaling.fit.config import FitConfig
from scaling.fit.data_flags import COLLINEAR, collinear_flag, wide_floor, wide_interval
from scaling.fit.isoflop import Method, find_profiles, fit_isoflop
from scaling.fit.laws import Surface
from scaling.fit.numerics import Rows, estimate, generator, identify
from scaling.fit.observations import Observations
from scaling.fit.parametric import ALPHA, BETA, LOWER, UPPER, A, B, refit, width
from scaling.plan.plan import Plan
from scaling.plan.precision.assumed_law import AssumedLaw
from scaling.plan.precision.result import ExpectedPrecision, LawPrecision

_SHIFTS = np.geomspace(1, 8, 25)  # factors by which the optimum may be off the assumed law's


@dataclass(frozen=True)
class Design:
    """The cells of a grid, each (n,): N_effective, tokens, the budget asked for, runs (seeds)."""

    params: np.ndarray
    tokens: np.ndarray
    budget: np.ndarray
    seeds: np.ndarray


def design_of(plan: Plan) -> Design:
    """The IsoFLOP cells of a plan, its trials that differ by seed alone taken together.

    Horizons, controls, and what an earlier stage asked for are no cells of the grid.
    """
    counts = Counter(
        (
            trial.flops_budget,
            params_effective(trial.config.model),
            trial.config.schedule.tokens_planned,
        )
        for trial in plan.trials
        if trial.part == "grid"
    )
    rows = sorted(counts)
    budget, params, tokens = np.array(rows, dtype=float).T
    return Design(params, tokens, budget, np.array([counts[row] for row in rows]))


def expect_precision(
    design: Design,
    assumed: AssumedLaw,
    fit: FitConfig,
    target_flops: float,
    simulations: int,
    seed: int,
) -> ExpectedPrecision:
    """Simulate the grid and fit each simulation as `fit` says; a second for forty cells."""
    noise = assumed.sd(design.budget)
    losses, seed_sd = simulated(design, assumed.law, noise, simulations, seed)
    mean = assumed.law.predict_loss(design.params, design.tokens)
    wanted = fit.laws or ("isoflop", "parametric")
    laws: list[LawPrecision] = []
    if "isoflop" in wanted:
        laws.append(_isoflop(design, losses, seed_sd, assumed.law, fit, target_flops))
    if "parametric" in wanted:
        laws.append(_parametric(design, losses, assumed.law, fit, target_flops))
    return ExpectedPrecision(
        assumed=assumed,
        noise=(float(noise.min()), float(noise.max())),
        losses=(float(mean.min()), float(mean.max())),
        target_flops=target_flops,
        simulations=simulations,
        laws=tuple(laws),
        bracketed=_bracketed(design, assumed.law, fit) if "isoflop" in wanted else None,
        collinear=_collinear(design, assumed.law) if "parametric" in wanted else None,
    )


def simulated(
    design: Design, law: Surface, noise: np.ndarray, simulations: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Losses (S, n), seeds averaged, and the noise between seeds as each table shows it (S,).

    The latter is nan where no cell has two seeds: then residuals alone tell it.
    """
    rng = generator(seed, "foresight")  # part of the answer, as the seed is
    mean = law.predict_loss(design.params, design.tokens)
    losses = np.empty((simulations, len(mean)))
    squares, dof = np.zeros(simulations), 0
    for cell, count in enumerate(design.seeds):
        runs = noise[cell] * rng.standard_normal((simulations, count))
        losses[:, cell] = mean[cell] + runs.mean(axis=1)
        squares += ((runs - runs.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        dof += count - 1
    seed_sd = np.sqrt(squares / dof) if dof else np.full(simulations, np.nan)
    return losses, np.where(seed_sd > 0, seed_sd, np.nan)


def _isoflop(
    design: Design,
    losses: np.ndarray,
    seed_sd: np.ndarray,
    law: Surface,
    fit: FitConfig,
    target: float,
) -> LawPrecision:
    # The headline's method is chosen once, by the grid and the noise, of those that are quick.
    rows, flags = [], Counter[str]()
    tables = [_observations(design, *one) for one in zip(losses, seed_sd, strict=True)]
    quick: tuple[Method, ...] = ("parabola", "parabola_all", "spline")
    asked = (fit.isoflop.method,) if fit.isoflop.method else quick
    first = fit_isoflop(tables[0], 0, fit.seed, fit.budget_tolerance, fit.isoflop, asked).law.method
    for table in tables:
        found = fit_isoflop(
            table, 0, fit.seed, fit.budget_tolerance, fit.isoflop, (first or "parabola",)
        )
        if found.frontier is None:
            flags["refused: too few curves with a minimum"] += 1
            continue
        flags.update({flag.code for flag in found.law.flags})
        line = found.frontier
        rows.append((float(line.n.slope), float(line.d.slope), float(np.log(line.n.at(target)))))
    return _precision("isoflop", rows, flags, law, target, len(losses))


def _parametric(
    design: Design, losses: np.ndarray, law: Surface, fit: FitConfig, target: float
) -> LawPrecision:
    mean = law.predict_loss(design.params, design.tokens)
    rows = Rows.of(design.params, design.tokens, mean)
    start, rows = rows.theta(law), replace(rows, loss=losses)
    found = refit(rows, start, np.ones_like(losses), width(fit.objective, fit.delta))
    theta = found.theta
    inner = (theta[:, [A, B]] > 0).all(axis=1)
    for exponent in (ALPHA, BETA):
        inner &= (theta[:, exponent] > LOWER[exponent]) & (theta[:, exponent] < UPPER[exponent])
    flags = Counter(
        {
            "refused: not converged": int((~found.converged).sum()),
            "refused: a term vanished": int((found.converged & ~inner).sum()),
        }
    )
    surfaces = rows.surface(theta[found.converged & inner])
    floor = estimate(law.E, surfaces.E)
    if floor.ci90 is None or wide_floor(floor):
        flags["floor_unidentified"] += len(surfaces.E)
    log_n = np.log(surfaces.optimal_allocation(target)[0])
    estimates = list(zip(surfaces.a, surfaces.b, log_n, strict=True))
    return _precision("parametric", estimates, flags, law, target, len(losses))


def _precision(
    name: str,
    rows: Sequence[tuple[float, float, float]],
    flags: Counter[str],
    law: Surface,
    target: float,
    simulations: int,
) -> LawPrecision:
    a, b, log_n = np.array(rows, dtype=float).reshape(-1, 3).T
    found = estimate(law.a, a)
    if wide_interval(found):
        flags["wide_interval"] += len(a)
    miss = np.abs(log_n - np.log(law.optimal_allocation(target)[0]))
    return LawPrecision(
        name=name,
        a=found.ci90,
        b=estimate(law.b, b).ci90,
        sd=float(a.std()) if a.size else float("nan"),
        bias=float(a.mean() - law.a) if a.size else float("nan"),
        factor=float(np.exp(np.quantile(miss, 0.9))) if a.size else float("nan"),
        fitted=len(a) / simulations,
        flags={code: n / simulations for code, n in flags.most_common() if n},
    )


def _bracketed(design: Design, law: Surface, fit: FitConfig) -> tuple[float, float] | None:
    """How far, down and up, the optimum may lie from the law's until a curve opens; no noise."""

    def holds(factor: float) -> bool:
        # N -> N / factor, D -> D factor: the same curves, `factor` times as far out.
        loss = law.predict_loss(design.params / factor, design.tokens * factor)
        table = _observations(design, loss, np.nan)
        profiles = find_profiles(table, fit.budget_tolerance)
        return bool(profiles) and all(profile.reason is None for profile in profiles)

    down, up = (list(takewhile(holds, _SHIFTS**sign)) for sign in (-1, 1))
    return (float(down[-1]), float(up[-1])) if down and up else None


def _collinear(design: Design, law: Surface) -> str | None:
    """Whether the cells move the law's losses so alike that its constants do not separate."""
    rows = Rows.of(design.params, design.tokens, law.predict_loss(design.params, design.tokens))
    names, constants = ("E", "A", "B", "alpha", "beta"), rows.theta(law)
    held = constants > 0  # an assumed E may be 0
    jacobian = Surface(*constants).jacobian(np.exp(rows.log_n), np.exp(rows.log_d))[:, held]
    named = [name for name, free in zip(names, held, strict=True) if free]
    found = identify(named, jacobian, constants[held], 1.0)
    if found.condition is not None and found.condition <= COLLINEAR:
        return None
    return collinear_flag(found, design.params, design.tokens).text


def _observations(design: Design, loss: np.ndarray, seed_sd: float) -> Observations:
    return Observations(
        run_id=("",) * len(loss),
        params=design.params,
        tokens=design.tokens,
        flops=6 * design.params * design.tokens,
        loss=loss,
        flops_budget=design.budget,
        loss_se=seed_sd / np.sqrt(design.seeds),
        planned=len(loss),
    )
