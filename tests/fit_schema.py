"""The shape of fit.json, schema 1, and a validator of it: a description, and its checks.

A shape is a type, a set of allowed values, a one-element list (of that shape), a dict (exactly
those keys; a key ending in ? may be absent), a tuple of alternatives, or a function.
"""

from typing import Any

NUMBER = (int, float)
EXPONENTS = ("a", "b")


def maybe(shape: Any) -> tuple[Any, ...]:
    return (None, shape)


def interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] <= value[1]


ESTIMATE = {
    "value": maybe(NUMBER),
    "se": maybe(NUMBER),
    "ci80": maybe(interval),
    "ci90": maybe(interval),
    "ci95": maybe(interval),
    "bound": {None, "low", "high"},
}
FLAG = {"code": str, "text": str}
STATUS = {"ok", "flagged", "refused"}
REFUSED = {"status": {"refused"}, "flags": [FLAG], "reason": str}
LAW = {"status": {"ok", "flagged"}, "flags": [FLAG], "reason": {None}, "a": ESTIMATE, "b": ESTIMATE}
CERTIFICATE = {
    "objective": NUMBER,
    "gradient_norm": NUMBER,
    "converged": bool,
    "starts": int,
    "starts_at_optimum": int,
}
PARAMETRIC = LAW | {name: ESTIMATE for name in ("E", "A", "B", "alpha", "beta")} | CERTIFICATE
PARAMETRIC |= {"residuals": [NUMBER], "failed_resamples": int}
VALLEY = {
    "flops": NUMBER,
    "n_opt": ESTIMATE,
    "d_opt": ESTIMATE,
    "loss": ESTIMATE,
    "n_points": int,
    "flags": [FLAG],
}
METHOD = maybe({"a": ESTIMATE, "b": ESTIMATE})
ISOFLOP = LAW | {
    "n_coef": ESTIMATE,
    "d_coef": ESTIMATE,
    "method": {"parabola", "spline", "robust"},
    "method_reason": str,
    "methods": {"parabola": METHOD, "spline": METHOD, "robust": METHOD},
    "valleys": [VALLEY],
    "scatter_between_valleys": NUMBER,
    "failed_resamples": int,
}
STANDING = {"status": {"ok", "flagged"}, "flags": [FLAG], "reason": {None}}
RESAMPLED = {"n_points": int, "failed_resamples": int}


def power_law(scale: str, **more: Any) -> tuple[Any, ...]:
    """A law of one variable: refused, or its better form with both beside it."""
    form = {"alpha": ESTIMATE, scale: ESTIMATE, "squares": NUMBER, "criterion": NUMBER}
    compared = {
        "form": {"power", "floor"},
        "forms": {"power": form, "floor": maybe(form | {"E": ESTIMATE})},
        "floor_gain": maybe(NUMBER),
        "comparison": str,
    }
    standing = STANDING | RESAMPLED | compared | {"alpha": ESTIMATE, scale: ESTIMATE}
    return (REFUSED | {"n_points": int} | more, standing | {"E?": ESTIMATE} | more)


CHOSEN = {"rule": str, "runs": [str], "tokens": [NUMBER]}
JOINT = (
    REFUSED,
    LAW
    | RESAMPLED
    | {name: ESTIMATE for name in ("alpha_N", "alpha_D", "N_c", "D_c", "alpha_C")}
    | {
        "residual_sd": NUMBER,
        "overfitting": {
            "excess": NUMBER,
            "k": ESTIMATE,
            "p": ESTIMATE,
            "violations": int,
            "runs": int,
        },
    },
)
KAPLAN = {
    "status": STATUS,
    "flags": [FLAG],
    "reason": maybe(str),
    "L_N": power_law("N_c", **CHOSEN),
    "L_D": power_law("D_c", **CHOSEN),
    "L_C": power_law("C_c", **CHOSEN),
    "L_ND": JOINT,
    "implied": [
        {
            "laws": [str],
            "form": {"power", "floor"},
            "a": ESTIMATE,
            "b": ESTIMATE,
            "alpha_C": ESTIMATE,
        }
    ],
    "failed_resamples": int,
}
OVER_TRAINING = STANDING | RESAMPLED | {"residual_sd": NUMBER}
OVER_TRAINING |= {n: ESTIMATE for n in ("E", "a_prime", "b_prime", "eta", "best_multiplier")}
CURVES = {
    "sizes": [power_law("D_c", params=NUMBER, tokens=[NUMBER])],
    "failed_resamples": int,
}
CELLS = {
    "cells": [
        {
            "params": NUMBER,
            "tokens": NUMBER,
            "value": maybe(NUMBER),
            "n_values": int,
            "tried": [NUMBER],
            "losses": [NUMBER],
            "reason": maybe(str),
        }
    ],
    "n_cells": int,
}
TUNED = STANDING | CELLS | {"residual_sd": NUMBER, "failed_resamples": int}
TUNED |= {"c": ESTIMATE, "q": ESTIMATE, "p?": ESTIMATE}
FURTHER = {
    "kaplan?": KAPLAN,
    "over_training?": (REFUSED, REFUSED | RESAMPLED | {"residual_sd": NUMBER}, OVER_TRAINING),
    "learning_curve?": (REFUSED, REFUSED | CURVES, STANDING | CURVES),
    "lr?": (REFUSED | CELLS, TUNED),
    "batch?": (REFUSED | CELLS, TUNED),
}
ANSWER = {
    "asked": {"params", "tokens", "pair"},
    "law": {"isoflop", "parametric"},
    **{name: ESTIMATE for name in ("flops", "params", "n_total", "tokens", "tokens_per_param")},
    "loss": ESTIMATE,
    "beyond": maybe(NUMBER),
    "flags": [FLAG],
}
RUN = {"run_id": str, "params": NUMBER, "tokens": NUMBER}
DIAGNOSTICS = {
    "residuals_by_budget": [
        {
            "flops_low": NUMBER,
            "flops_high": NUMBER,
            "runs": int,
            "mean": NUMBER,
            "sd": maybe(NUMBER),
        }
    ],
    "influence": [
        RUN
        | {"law": {"isoflop", "parametric"}}
        | {name: maybe(NUMBER) for name in ("leverage", "residual", "a_without", "a_change")}
    ],
    "outliers": {
        "rule": str,
        "runs": [RUN | {"residual": NUMBER, "score": NUMBER}],
        "without": [
            {
                "law": {"isoflop", "parametric"},
                "status": STATUS,
                "reason": maybe(str),
                "runs": int,
                **{name: maybe(ESTIMATE) for name in ("a", "b", "E", "alpha", "beta")},
            }
        ],
    },
}
COMPARISON = {
    "this": str,
    "other": str,
    "warnings": [FLAG],
    "estimates": [
        {
            "law": {"isoflop", "parametric"},
            "name": {"a", "b", "E", "alpha", "beta"},
            **{name: ESTIMATE for name in ("this", "other", "difference")},
            "apart90": maybe(bool),
        }
    ],
    "other_fit": {"range": maybe(interval), "laws": dict, "predictions": list},
}
ENVELOPE = LAW | {
    "n_coef": ESTIMATE,
    "d_coef": ESTIMATE,
    "method": {"crossings"},
    "methods": {"crossings": METHOD, "budgets": METHOD, "hull": METHOD},
    "crossings": [{"flops": NUMBER, "n_opt": NUMBER, "d_opt": NUMBER}],
    "settled_share": NUMBER,
    "settled_within": NUMBER,
    "budgets": int,
    "smoothing_steps": NUMBER,
    "curves": int,
    "curves_on_envelope": int,
    "failed_resamples": int,
}
FIT = {
    "schema": {1},
    "status": STATUS,
    "inputs": {
        "planned": int,
        "used": int,
        "observations": int,
        "merged": int,
        "excluded": [{"run_id": str, "reason": str}],
        "where": maybe(dict),
    },
    "options": {
        "objective": {"huber", "lad", "least_squares"},
        "delta": NUMBER,
        "reduce": {"none", "best"},
        "holdout": (str, *NUMBER),
        "n_bootstrap": int,
        "failed_resamples": int,
        "seed": int,
        "loss_unit": {"nats", "bpb"},
        "budget_tolerance": NUMBER,
    },
    "provenance": dict,
    "convention": {
        "params": {"given", "effective", "total", "matmul", "non_embedding"},
        "flops": {"given", "exact", "6nd"},
    },
    "warnings": [FLAG],
    "laws": {
        "isoflop?": (REFUSED, ISOFLOP),
        "parametric?": (REFUSED, REFUSED | CERTIFICATE, PARAMETRIC),
        "envelope?": (REFUSED, ENVELOPE),
        **FURTHER,
    },
    "conventions": [
        {
            "params": {"effective", "total", "matmul", "non_embedding"},
            "flops": {"exact", "6nd"},
            "law": {"isoflop", "parametric"},
            "a": ESTIMATE,
            "b": ESTIMATE,
        }
    ],
    "predictions": [
        {
            "flops": NUMBER,
            "law": {"isoflop", "parametric", "envelope"},
            "n_opt": ESTIMATE,
            "n_total": ESTIMATE,
            "d_opt": ESTIMATE,
            "tokens_per_param": ESTIMATE,
            "loss": ESTIMATE,
            "beyond": maybe(NUMBER),
            "flags": [FLAG],
        }
    ],
    "answers": [ANSWER],
    "ladder": {
        "sizes": {"paper", "scaled", "none"},
        "note": str,
        "rows": [ANSWER | {"law": {"isoflop", "parametric", "hoffmann"}}],
    },
    "diagnostics": DIAGNOSTICS,
    "comparison?": COMPARISON,
    "holdout": {
        "status": {"ok", "none", "refused"},
        "reason": maybe(str),
        "flops": maybe(NUMBER),
        "law": {None, "isoflop", "parametric"},
        "loss_predicted": ESTIMATE,
        "loss_observed": maybe(NUMBER),
        "loss_error": maybe(NUMBER),
        "n_opt_error": maybe(NUMBER),
        "inside90": maybe(bool),
    },
}


def problems(value: Any, shape: Any = FIT, place: str = "fit.json") -> list[str]:
    """Where `value` departs from `shape`; nothing if it does not."""
    if isinstance(shape, tuple):
        tried = [problems(value, option, place) for option in shape]
        return [] if [] in tried else min(tried, key=len)
    if isinstance(shape, set):
        return [] if value in shape else [f"{place}: {value!r} is none of {shape}"]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{place}: {value!r} is no object"]
        keys = {key.rstrip("?"): part for key, part in shape.items()}
        needed = {key for key in shape if not key.endswith("?")}
        found = [f"{place}.{key}: missing" for key in sorted(needed - set(value))]
        found += [f"{place}.{key}: unknown" for key in sorted(set(value) - set(keys))]
        for key in set(keys) & set(value):
            found += problems(value[key], keys[key], f"{place}.{key}")
        return found
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{place}: {value!r} is no list"]
        return [
            problem
            for index, item in enumerate(value)
            for problem in problems(item, shape[0], f"{place}[{index}]")
        ]
    if shape is None:
        return [] if value is None else [f"{place}: {value!r} is not null"]
    if isinstance(shape, type):
        right = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        return [] if right else [f"{place}: {value!r} is no {shape.__name__}"]
    return [] if shape(value) else [f"{place}: {value!r} fails {shape.__name__}"]
