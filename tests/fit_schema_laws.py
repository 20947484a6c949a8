"""The shapes of the laws in fit.json, and of what stands in them; fit_schema.py reads them."""

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
PARAMETRIC |= {"residuals": [NUMBER], "failed_resamples": int, "resampling": {"noise", "cases"}}
ENDS = {level: [maybe(NUMBER)] for level in ("ci80", "ci90", "ci95")}  # null: the profile is open
PARAMETRIC |= {"profile": {"a": ENDS, "E": ENDS, "agrees": maybe(bool)}}
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
