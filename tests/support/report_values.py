"""The values of fit.json of the study in report_example, in schema 1, built by hand."""

from typing import Any

import numpy as np

from scaling.fit.observations import Observations

BUDGETS = (2.5e10, 8e10, 2.5e11, 8e11)
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


def document(observations: Observations) -> dict[str, Any]:
    """fit.json of the study."""
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
            "loss_unit": "nats",
            "budget_tolerance": 0.1,
        },
        "provenance": {
            "runs": [{"path": "runs/quickstart", "sha256": "0123abcd"}],
            "own_sweep": False,
            "python": "3.11.7",
            "numpy": "2.4.6",
            "scipy": "1.17.0",
            "created": "2026-01-01T00:00:00Z",
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
    """With itself, the exponent moved: the path of the other is as hostile as a run's name."""
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


def best_size(flops: float) -> float:
    """N* of a budget."""
    return float(14.6e3 * (flops / 2.5e10) ** 0.42)


def _isoflop() -> dict[str, Any]:
    return {
        "status": "flagged",
        "flags": [{"code": "few_budgets", "text": "4 budgets, 5 are asked for"}],
        "reason": None,
        "a": estimate(0.42, 0.018),
        "b": estimate(0.58, 0.018),
        "n_coef": estimate(14.6e3 / 2.5e10**0.42),
        "d_coef": estimate(2.5e10**0.42 / (6 * 14.6e3)),
        "method": "parabola",
        "methods": {"spline": {"a": estimate(0.40, 0.03), "b": estimate(0.60, 0.03)}},
        "valleys": [
            {
                "flops": c,
                "n_opt": estimate(best_size(c) * wobble, 0.05 * best_size(c)),
                "d_opt": estimate(c / 6 / best_size(c) / wobble, 0.05 * c / 6 / best_size(c)),
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
        best_size(flops)
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
        "loss": estimate(float(2.234 - 0.186 * np.log(flops / 2.5e10)), 0.01),
        "beyond": None if flops <= BUDGETS[-1] else flops / BUDGETS[-1],
        "flags": [],
    }
