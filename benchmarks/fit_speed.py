"""How long a fit takes, and how often its optimiser arrives; against L-BFGS from Hoffmann's grid.

    OMP_NUM_THREADS=1 python -m benchmarks.fit_speed [TABLE] [--rows ROWS ...]

Then the whole of fit.py, on TABLE or on the runs below, on tables of 1,000 to 1,000,000 runs at any
compute, and on a million curve rows; with --rows only on tables of so many runs.
No data are needed: 240 runs on Besiroglu's surface with 0.01 nats of noise, of Chinchilla's ranges.
Hoffmann et al. 2022 minimise the same objective by L-BFGS from 4,500 starts, as people do with
scipy's L-BFGS-B; a random hundred of them are run here, in turn with our own whole fit so that a
busy machine slows both, with scipy's default and with tight tolerances. Ratios are of one
certified fit to 4,500 starts, at the hundred's own pace.
"""

import common.start  # noqa: F401

# isort: split
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import scipy
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from benchmarks.curves import curves, fit_cost
from benchmarks.timing import clocked, cost_of, parser, seconds, spread
from common.errors import BadInput, ExitStatus
from configs.cli import exit_status
from scaling.fit.isoflop import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.numerics import Rows
from scaling.fit.observations import Observations
from scaling.fit.parametric import fit_parametric, minimise
from training.environment import device_name

DELTA = 1e-3
RESAMPLES = 4000
REPEATS = 5
SIZES = (1_000, 5_000, 20_000, 1_000_000)
HOFFMANN_STARTS = 4500


def runs(seed: int = 0) -> Observations:
    """240 runs: 12 budgets from 6e18 to 3e21 FLOP, 20 sizes within a factor 6 of the optimum."""
    rng, surface = np.random.default_rng(seed), PUBLISHED["besiroglu"]
    budgets = np.repeat(np.geomspace(6e18, 3e21, 12), 20)
    params = surface.optimal_allocation(budgets)[0] * np.tile(np.geomspace(1 / 6, 6, 20), 12)
    tokens = budgets / (6 * params)
    loss = surface.predict_loss(params, tokens) + 0.01 * rng.standard_normal(240)
    names = tuple(f"run-{index:03d}" for index in range(240))
    return Observations(names, params, tokens, budgets, loss, budgets, np.full(240, np.nan))


def start_up() -> float:
    """Seconds for a fresh process to import fit.py, the least of five."""
    return min(cost_of("-c", "import fit").wall_s for _ in range(5))


def hoffmann_starts(count: int, seed: int = 0) -> np.ndarray:
    """`count` of the starts (a, b, e, alpha, beta) of Hoffmann's grid, at random."""
    size, power = np.arange(0, 26, 5.0), np.arange(0, 2.1, 0.5)
    axes = size, size, np.arange(-1, 1.1, 0.5), power, power
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 5)
    return np.random.default_rng(seed).choice(grid, count, replace=False)


def lbfgs(observations: Observations, start: np.ndarray, tight: bool) -> float:
    """The objective where scipy's L-BFGS ends from one start, given its gradient in closed form."""
    log_n, log_d = np.log(observations.params), np.log(observations.tokens)
    log_loss = np.log(observations.loss)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        a, b, e, alpha, beta = theta
        parts = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
        log_predicted = logsumexp(parts, axis=0)
        shares, r = np.exp(parts - log_predicted), log_predicted - log_loss
        size = np.abs(r)
        value = np.where(size <= DELTA, r**2 / 2, DELTA * (size - DELTA / 2)).sum()
        pull = np.clip(r, -DELTA, DELTA)
        by = shares @ pull
        slope = np.array(
            [by[0], by[1], by[2], -(shares[0] * log_n) @ pull, -(shares[1] * log_d) @ pull]
        )
        return float(value), slope

    options: dict[str, float] = {"maxiter": 10_000, "maxfun": 100_000}
    if tight:
        options |= {"ftol": 1e-15, "gtol": 1e-12}
    return float(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun)


def main(words: Sequence[str]) -> int:
    """Print the figures with the machine and the versions."""
    arguments = parser("fit_speed", __doc__)
    arguments.add_argument("table", nargs="?", type=Path, metavar="TABLE", help="runs for fit.py")
    arguments.add_argument("--rows", nargs="*", type=int, metavar="ROWS", help="runs of a table")
    parsed = arguments.parse_args(words)
    asked = parsed.table
    if asked is not None and not asked.exists():
        raise BadInput(f"{asked}: not found; expected a table or a sweep directory")
    if parsed.rows is not None:
        _report_sizes(parsed.rows)
        return ExitStatus.DONE
    processor = device_name(torch.device("cpu"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {processor}, one thread if OMP_NUM_THREADS=1")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}")
    print("repeats: median (least to most)")
    print(f"start-up of fit.py             {start_up():8.2f} s")
    observations = runs()
    rows = Rows.of(observations.params, observations.tokens, observations.loss)
    times = [seconds(lambda: minimise(rows, DELTA)) for _ in range(REPEATS)]
    print(f"parametric, certified point    {spread(times)} s")
    point = minimise(rows, DELTA)
    _report_bootstrap(observations)
    _report_command(observations, asked)
    _report_sizes(SIZES)
    print(f"Newton: {point.starts_at_optimum} of {point.starts} starts arrive")
    _report_lbfgs(observations, rows, point.objective)
    return ExitStatus.DONE


def _report_bootstrap(observations: Observations) -> None:
    times = [
        seconds(lambda: fit_parametric(observations, RESAMPLES, seed=0)) for _ in range(REPEATS)
    ]
    print(f"parametric, {RESAMPLES} resamples     {spread(times)} s")
    times = [seconds(lambda: fit_isoflop(observations, RESAMPLES, 0, 0.2)) for _ in range(3)]
    print(f"isoflop, {RESAMPLES} resamples        {spread(times)} s")


def _report_command(observations: Observations, asked: Path | None) -> None:
    """The whole command, every law, interval, figure and page; on a table of one's own if named."""
    with tempfile.TemporaryDirectory() as folder:
        path = asked or Path(folder) / "runs.csv"
        if asked is None:
            columns = (observations.params, observations.tokens, observations.loss)
            rows = np.column_stack(columns)
            np.savetxt(path, rows, delimiter=",", header="params,tokens,loss", comments="")
        print(f"fit.py, everything: {fit_cost(path, Path(folder, 'fit'))}", flush=True)
    curves()


def scattered(count: int, seed: int = 0) -> np.ndarray:
    """N, D and loss (count, 3) of runs of 10M to 10B on 2 to 200 tokens a parameter."""
    rng, surface = np.random.default_rng(seed), PUBLISHED["besiroglu"]
    params = 10 ** rng.uniform(7, 10, count)
    tokens = params * 10 ** rng.uniform(0.3, 2.3, count)
    loss = surface.predict_loss(params, tokens) + 0.01 * rng.standard_normal(count)
    return np.column_stack([params, tokens, loss])


def _report_sizes(sizes: Sequence[int]) -> None:
    """The whole command by the number of runs."""
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "runs.csv"
            header = "params,tokens,loss"
            np.savetxt(path, scattered(count), "%.7g", ",", header=header, comments="")
            print(f"fit.py, {count} runs: {fit_cost(path, Path(folder, 'fit'))}", flush=True)


def _ends(observations: Observations, starts: np.ndarray, tight: bool) -> list[float]:
    return [lbfgs(observations, start, tight) for start in starts]


def _report_lbfgs(observations: Observations, rows: Rows, best: float) -> None:
    for name, tight in (("default", False), ("tight", True)):
        ends, ratios, all_s = [], [], 0.0
        for part in np.array_split(hoffmann_starts(100), REPEATS):
            own = seconds(lambda: minimise(rows, DELTA))
            found, theirs = clocked(partial(_ends, observations, part, tight))
            ends += found
            all_s += theirs
            ratios.append(theirs / len(part) * HOFFMANN_STARTS / own)
        arrived = int((np.array(ends) <= best * (1 + 1e-6)).sum())
        print(
            f"L-BFGS-B, {name} tolerances: {arrived} of {len(ends)} starts arrive, "
            f"{all_s:.1f} s, best {min(ends) / best:.6f} and median "
            f"{np.median(ends) / best:.3f} times the minimum; all {HOFFMANN_STARTS} starts take "
            f"{spread(ratios)} times as long as one certified fit"
        )


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
