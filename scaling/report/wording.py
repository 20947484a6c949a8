"""What the quantities of a study are called: axes with unit and convention, laws, flags."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.observations import Observations

LAWS = {
    "isoflop": "IsoFLOP valleys",
    "parametric": "parametric surface",
    "envelope": "envelope of curves",
    "kaplan": "Kaplan's laws",
    "over_training": "over-training",
    "learning_curve": "learning curves",
    "lr": "learning rate",
    "batch": "batch size",
}
HEADLINE_LAWS = ("isoflop", "parametric")
STATES = {
    "ok": "stands",
    "flagged": "stands with doubts",
    "refused": "refused",
}
PARAMS = {
    "given": "N (as counted in the table)",
    "effective": "N_eff (FLOP per token / 6)",
    "total": "N (all, embeddings included)",
    "matmul": "N_mm (in matrix products, head included)",
    "non_embedding": "N (without embeddings)",
}
FLOPS = {
    "given": "training compute C (FLOP, as in the table)",
    "exact": "training compute C (FLOP, exact)",
    "6nd": "training compute C (FLOP, 6 N D)",
}


# How our own sweeps count; what the columns of another table hold is not known.
_OURS = {
    "N (without embeddings)": "N (without embeddings, 12 layers · width²)",
    "training compute C (FLOP, exact)": "training compute C (FLOP, exact, causal attention)",
}


@dataclass(frozen=True)
class Axes:
    """The label of each quantity, with unit and convention."""

    params: str
    params_opt: str
    tokens: str
    tokens_opt: str
    flops: str
    loss: str
    token: str
    """What one token is: `token`, or `byte` where the vocabulary is bytes."""

    loss_unit: str


def is_bytes(observations: Observations) -> bool:
    """Whether every run was trained on bytes: 256 symbols, or one more that ends a text."""
    vocabulary = observations.columns.get("vocab_size")
    if vocabulary is None or vocabulary.size == 0:
        return False
    return bool(np.all(np.isfinite(vocabulary)) and np.all(vocabulary <= 257))


def axes(document: dict[str, Any], observations: Observations) -> Axes:
    """The axes of this study, from the convention of the headline and from its vocabulary."""
    convention = document.get("convention") or {}
    token = "byte" if is_bytes(observations) else "token"
    bits = (document.get("options") or {}).get("loss_unit") == "bpb"
    loss_unit = "bits per byte" if bits else f"nats per {token}"
    params = params_name(document, convention.get("params")) or "N"
    flops = FLOPS.get(str(convention.get("flops")), "training compute C (FLOP)")
    return Axes(
        params=f"parameters {params}",
        params_opt=f"optimal {params}",
        tokens=f"training {token}s D",
        tokens_opt=f"optimal D (training {token}s)",
        flops=_told(document, flops),
        loss=f"final held-out loss ({loss_unit})",
        token=token,
        loss_unit=loss_unit,
    )


def params_name(document: dict[str, Any], convention: Any) -> str | None:
    """What N counts under a convention, as closely as is known of these runs."""
    name = PARAMS.get(str(convention))
    return _told(document, name) if name else None


def _told(document: dict[str, Any], name: str) -> str:
    own = (document.get("provenance") or {}).get("own_sweep")
    return _OURS.get(name, name) if own else name


_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PARAMETERS = {
    "a": "a in N* = k C^a",
    "b": "b in D* = k C^b",
    "n_coef": "k of N*",
    "d_coef": "k of D*",
    "E": "E, irreducible loss",
    "alpha": "α, exponent of N in the loss",
    "beta": "β, exponent of D in the loss",
    "A": "A, scale of the N term",
    "B": "B, scale of the D term",
}


def by_law(key: str) -> str:
    """A law's name with its article, as in `by the parametric surface`."""
    return f"the {law_name(key)}" if key == "parametric" else law_name(key)


def visible(text: str) -> str:
    """Text whose control, direction and half characters show as replaced.

    They could steer a terminal, reorder what a reader sees, or have no UTF-8.
    """
    return _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text)


def law_name(key: str) -> str:
    """A law's name in a sentence."""
    return LAWS.get(key, key.replace("_", " "))


def flags(node: dict[str, Any]) -> list[tuple[str, str]]:
    """The doubts of a law or a valley as (code in words, sentence)."""
    return [
        (str(flag.get("code")).replace("_", " "), str(flag.get("text") or flag.get("code")))
        for flag in node.get("flags") or []
    ]


def reason(law: dict[str, Any]) -> str:
    """Why a law was refused, without a full stop."""
    return str(law.get("reason") or "no reason given").rstrip(".")


def stands(law: Any) -> bool:
    """Whether a law has numbers: ok or flagged."""
    return isinstance(law, dict) and law.get("status") in ("ok", "flagged")


def valley_curves(law: dict[str, Any]) -> str:
    """What the curve of a valley is, by the method of the headline."""
    if law.get("method") == "spline":
        return (
            "Curves are Akima splines of log loss through all sizes; a vertex is the median over "
            "draws of the runs' noise, so that it may lie beside its curve."
        )
    return "Curves are parabolas in log N over the sizes they were fitted to."
