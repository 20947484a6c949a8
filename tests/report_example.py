"""A small study as scaling/fit hands it over: four budgets, five sizes, bytes, built by hand.

The valleys are parabolas about N* = 14.6k (C / 2.5e10)^0.42 with the losses of a real pilot at the
vertex; nothing here is fitted, so that the report is tested apart from the fits.
"""

from typing import Any

import numpy as np

from scaling.fit.fit import Fit
from scaling.fit.observations import Exclusion, Observations

BUDGETS = (2.5e10, 8e10, 2.5e11, 8e11)
SIZES = (4.6e3, 8.1e3, 12e3, 23e3, 37e3, 74e3, 123e3, 258e3)
LEAST = (2.234, 2.024, 1.790, 1.590)


def estimate(value: float | None, spread: float = 0.0, bound: str | None = None) -> dict[str, Any]:
    """An estimate of fit.json with symmetric intervals."""
    if value is None:
        return {"value": None, "se": None, "ci80": None, "ci90": None, "ci95": None, "bound": bound}
    ends = {
        f"ci{level}": [value - z * spread, value + z * spread]
        for level, z in ((80, 1.28), (90, 1.64), (95, 1.96))
    }
    return {"value": value, "se": spread, **ends, "bound": None}


def example(name: str = "trial-{budget}-{size}", seed: int = 0, curves: bool = True) -> Fit:
    """The study; `name` makes the run ids."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, (budget, least) in enumerate(zip(BUDGETS, LEAST, strict=True)):
        best = _best(budget)
        for j in range(i, i + 5):
            n = SIZES[j]
            loss = least + 0.095 * np.log(n / best) ** 2 + rng.normal(0, 0.006)
            rows.append((name.format(budget=i, size=j), n, budget / (6 * n), budget, loss))
    observations = Observations(
        run_id=tuple(row[0] for row in rows),
        params=np.array([row[1] for row in rows]),
        tokens=np.array([row[2] for row in rows]),
        flops=np.array([row[3] for row in rows]),
        loss=np.array([row[4] for row in rows]),
        flops_budget=np.array([row[3] for row in rows]),
        loss_se=np.full(len(rows), np.nan),
        columns={
            "vocab_size": np.full(len(rows), 256.0),
            "steps": np.linspace(480, 3900, len(rows)),
        },
        planned=len(rows) + 1,
        excluded=(Exclusion(name.format(budget=9, size=9), "diverged: loss not finite at 120"),),
    )
    return Fit(document(observations), observations, _curves(rows, rng) if curves else {}, True)


def document(observations: Observations) -> dict[str, Any]:
    """fit.json of the study, in schema 1."""
    held = {
        "status": "ok",
        "reason": None,
        "flops": 8e11,
        "law": "parametric",
        "loss_predicted": estimate(1.604, 0.011),
        "loss_observed": 1.597,
        "loss_error": 0.0044,
        "n_opt_error": -0.12,
        "inside90": True,
    }
    return {
        "schema": 1,
        "status": "flagged",
        "inputs": {
            "planned": observations.planned,
            "used": len(observations.run_id),
            "observations": len(observations.run_id),
            "merged": observations.merged,
            "excluded": [{"run_id": e.run_id, "reason": e.reason} for e in observations.excluded],
            "where": None,
        },
        "options": {
            "objective": "huber",
            "delta": 1e-3,
            "reduce": "none",
            "holdout": "top",
            "n_bootstrap": 400,
            "failed_resamples": 0,
            "seed": 0,
        },
        "provenance": {
            "runs": [{"path": "runs/quickstart", "sha256": "0123abcd"}],
            "numpy": "2.4.6",
        },
        "convention": {"params": "effective", "flops": "exact"},
        "warnings": [{"code": "few_steps", "text": "1 run took fewer than 500 steps"}],
        "laws": {"isoflop": _isoflop(), "parametric": _parametric()},
        "conventions": [
            {
                "params": p,
                "flops": f,
                "law": "isoflop",
                "a": estimate(a, 0.02),
                "b": estimate(1 - a, 0.02),
                "reason": None,
            }
            for p, f, a in (
                ("effective", "exact", 0.42),
                ("total", "6nd", 0.43),
                ("matmul", "exact", 0.44),
                ("non_embedding", "exact", 0.53),
            )
        ],
        "predictions": [
            _prediction(law, c) for law in ("isoflop", "parametric") for c in (*BUDGETS, 3e12)
        ],
        "answers": [_answer("parametric", 70e3, 2.4e6)],
        "ladder": {
            "sizes": "scaled",
            "note": "the paper's sizes, scaled",
            "rows": [_answer(law, 6.4e3, 0.7e6) for law in ("parametric", "hoffmann")],
        },
        "diagnostics": _diagnostics(observations),
        "comparison": _comparison(observations.run_id[0]),
        "holdout": held | {"rolling": [held | {"runs_below": 21}], "rolling_reason": None},
    }


def _answer(law: str, params: float, tokens: float) -> dict[str, Any]:
    far = law == "parametric"
    return {
        "asked": "params",
        "law": law,
        "flops": estimate(6 * params * tokens, 1e11),
        "params": estimate(params),
        "n_total": estimate(None),
        "tokens": estimate(tokens, 1e5),
        "tokens_per_param": estimate(tokens / params, 2.0),
        "loss": estimate(1.55, 0.02),
        "beyond": 1.26 if far else None,
        "flags": [{"code": "extrapolation", "text": "1.26 times above"}] if far else [],
    }


def _diagnostics(observations: Observations) -> dict[str, Any]:
    run = {"run_id": observations.run_id[3], "params": 23e3, "tokens": 0.18e6}
    influence = {"leverage": 0.31, "residual": 0.004, "a_without": 0.4, "a_change": 0.019}
    refit = {"a": estimate(0.39, 0.03), "b": estimate(0.61, 0.03), "E": None, "alpha": None}
    return {
        "residuals_by_budget": [
            {"flops_low": c, "flops_high": c, "runs": 5, "mean": 0.001, "sd": 0.003}
            for c in BUDGETS
        ],
        "influence": [{**run, "law": "parametric", **influence}],
        "outliers": {
            "rule": "residual over 3.5",
            "runs": [{**run, "residual": 0.02, "score": 4.2}],
            "without": [
                {"law": "parametric", "status": "ok", "reason": None, "runs": 19, "beta": None}
                | refit
            ],
        },
    }


def _comparison(name: str) -> dict[str, Any]:
    """With itself, the valleys' exponent moved: the other's path is as hostile as a run's name."""
    sides = {"this": estimate(0.42, 0.018), "other": estimate(0.47, 0.02)}
    row = {"law": "isoflop", "name": "a", **sides, "difference": estimate(-0.05, 0.027)}
    return {
        "this": "runs/one",
        "other": name,
        "warnings": [{"code": "shared_runs", "text": "both fits read the same file"}],
        "estimates": [{**row, "apart90": True}],
        "other_fit": {
            "range": [BUDGETS[0], BUDGETS[-1]],
            "laws": {"isoflop": {**_isoflop(), "a": estimate(0.47, 0.02)}},
            "predictions": [_prediction("isoflop", c) for c in BUDGETS],
        },
    }


def _best(flops: float) -> float:
    return float(14.6e3 * (flops / 2.5e10) ** 0.42)


def _isoflop() -> dict[str, Any]:
    return {
        "status": "flagged",
        "flags": [{"code": "few_budgets", "text": "4 budgets, 5 are asked for"}],
        "reason": None,
        "a": estimate(0.42, 0.018),
        "b": estimate(0.58, 0.018),
        "method": "parabola",
        "methods": {"spline": {"a": estimate(0.40, 0.03), "b": estimate(0.60, 0.03)}},
        "valleys": [
            {
                "flops": c,
                "n_opt": estimate(_best(c) * wobble, 0.05 * _best(c)),
                "d_opt": estimate(c / 6 / _best(c) / wobble, 0.05 * c / 6 / _best(c)),
                "loss": estimate(least, 0.005),
                "n_points": 5,
                "flags": [],
            }
            for c, least, wobble in zip(BUDGETS, LEAST, (1.02, 0.97, 0.99, 1.03), strict=True)
        ],
    }


def _parametric() -> dict[str, Any]:
    return {
        "status": "flagged",
        "flags": [{"code": "floor_unidentified", "text": "the interval of E reaches zero"}],
        "reason": None,
        "E": estimate(0.77, 0.4),
        "A": estimate(62.0, 30.0),
        "B": estimate(39.2, 15.0),
        "alpha": estimate(0.477, 0.05),
        "beta": estimate(0.293, 0.03),
        "a": estimate(0.381, 0.03),
        "b": estimate(0.619, 0.03),
        "objective": 2.1e-4,
        "gradient_norm": 1e-9,
        "converged": True,
        "starts": 500,
        "starts_at_optimum": 37,
        "residuals": None,
    }


def _prediction(law: str, flops: float) -> dict[str, Any]:
    n = (
        _best(flops)
        if law == "isoflop"
        else float(
            np.exp(np.log(0.477 * 62.0 / (0.293 * 39.2)) / 0.77 + 0.293 / 0.77 * np.log(flops / 6))
        )
    )
    reach = 0.06 + 0.04 * abs(np.log10(flops / 1.4e11))
    d = flops / 6 / n
    return {
        "flops": flops,
        "law": law,
        "n_opt": estimate(n, reach * n),
        "n_total": estimate(1.2 * n, reach * n),
        "d_opt": estimate(d, reach * d),
        "tokens_per_param": estimate(d / n, 2 * reach * d / n),
        "loss": estimate(2.234 - 0.186 * np.log(flops / 2.5e10), 0.01),
    }


def _curves(rows: list[Any], rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for run_id, _, tokens, flops, loss in rows:
        share = np.linspace(0.003, 1, 300)
        shape = loss + (5.55 - loss) * (
            np.exp(-30 * share) + 0.22 * (1 - share) ** 2 * share**-0.15
        )
        shape += rng.normal(0, 0.03, len(share))
        found[run_id] = [
            {
                "step": i,
                "tokens": float(s * tokens),
                "flops": float(s * flops),
                "loss": float(value),
                "val_loss": float(loss) if i == len(share) - 1 else None,
            }
            for i, (s, value) in enumerate(zip(share, shape, strict=True))
        ]
    return found
