"""What the quantities of a study are called: axes with unit and convention, laws, flags."""

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
    "given": "parameters N (as counted in the table)",
    "effective": "parameters N_eff (training FLOP per token / 6)",
    "total": "parameters N (all, embeddings included)",
    "matmul": "parameters N_mm (in matrix products, output head included)",
    "non_embedding": "parameters N (without embeddings, 12 · layers · width²)",
}
FLOPS = {
    "given": "training compute C (FLOP, as in the table)",
    "exact": "training compute C (FLOP, exact, causal attention)",
    "6nd": "training compute C (FLOP, 6 N D)",
}


@dataclass(frozen=True)
class Axes:
    """The label of each quantity, with unit and convention."""

    params: str
    tokens: str
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
    return Axes(
        params=PARAMS.get(str(convention.get("params")), "parameters N"),
        tokens=f"training tokens D ({token}s)" if token == "byte" else "training tokens D",
        flops=FLOPS.get(str(convention.get("flops")), "training compute C (FLOP)"),
        loss=f"final held-out loss ({loss_unit})",
        token=token,
        loss_unit=loss_unit,
    )


def law_name(key: str) -> str:
    """A law's name in a sentence."""
    return LAWS.get(key, key.replace("_", " "))


def stands(law: Any) -> bool:
    """Whether a law has numbers: ok or flagged."""
    return isinstance(law, dict) and law.get("status") in ("ok", "flagged")
