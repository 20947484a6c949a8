"""The shape of fit.json, schema 1, and a validator of it: a description, and its checks.

A shape is a type, a set of allowed values, a one-element list (of that shape), a dict (exactly
those keys; a key ending in ? may be absent), a tuple of alternatives, or a function.
"""

from typing import Any

from fit_schema_laws import (
    CERTIFICATE,
    ENVELOPE,
    ESTIMATE,
    FLAG,
    FURTHER,
    ISOFLOP,
    NUMBER,
    PARAMETRIC,
    REFUSED,
    STATUS,
    VALLEY,
    interval,
    maybe,
)

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
HELD = {
    "status": {"ok", "none", "refused"},
    "reason": maybe(str),
    "flops": maybe(NUMBER),
    "law": {None, "isoflop", "parametric"},
    "loss_predicted": ESTIMATE,
    "loss_observed": maybe(NUMBER),
    "loss_error": maybe(NUMBER),
    "n_opt_error": maybe(NUMBER),
    "inside90": maybe(bool),
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
        "isoflop?": (REFUSED | {"valleys": [VALLEY]}, ISOFLOP),
        "parametric?": (REFUSED, REFUSED | CERTIFICATE, PARAMETRIC),
        "envelope?": (REFUSED, ENVELOPE),
        **FURTHER,
    },
    "conventions": [
        {
            "params": {"effective", "total", "matmul", "non_embedding"},
            "flops": {"exact", "6nd"},
            "law": {"isoflop", "parametric", "envelope"},
            "a": ESTIMATE,
            "b": ESTIMATE,
            "reason": maybe(str),
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
    "holdout": HELD | {"rolling": [HELD | {"runs_below": int}], "rolling_reason": maybe(str)},
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
