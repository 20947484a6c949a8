"""What the quantities of a study are called: axes with unit and convention, laws, estimates."""

import re
from dataclasses import dataclass

from data.tokenizer import is_byte_vocabulary
from scaling.fit.flags import Flag
from scaling.fit.observations import Observations
from scaling.fit.registry import LAWS
from scaling.fit.results import FitDocument
from scaling.fit.results.checks import WithoutOutliers
from scaling.fit.results.document import FlopsCount, ParamsCount
from scaling.fit.results.laws import IsoflopLaw, Law
from scaling.report.study import Study

PARAMS: dict[ParamsCount, str] = {
    "given": "N (as counted in the table)",
    "effective": "N_eff (FLOP per token / 6)",
    "total": "N (all, embeddings included)",
    "matmul": "N_mm (in matrix products, head included)",
    "non_embedding": "N (without embeddings)",
}
FLOPS: dict[FlopsCount, str] = {
    "given": "training compute C (FLOP, as in the table)",
    "exact": "training compute C (FLOP, exact)",
    "6nd": "training compute C (FLOP, 6 N D)",
}
# How our own sweeps count; what the columns of another table hold is not known.
_OURS = {
    "N (without embeddings)": "N (without embeddings, 12 layers · width²)",
    "training compute C (FLOP, exact)": "training compute C (FLOP, exact, causal attention)",
}
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
_FLAGS = {"floor_unidentified": "E unidentified", "edge_valley": "minimum near an edge"}
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class AxisLabels:
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


def is_bytes(runs: Observations) -> bool:
    """Whether every run was trained on bytes, by the size of its vocabulary."""
    if not len(runs) or "vocab_size" not in runs.columns:
        return False
    return all(map(is_byte_vocabulary, runs.columns["vocab_size"]))  # nan is none


def axis_labels(study: Study) -> AxisLabels:
    """The axes of this study, from the convention of the headline and from its vocabulary."""
    document = study.document
    token = "byte" if is_bytes(study.runs) else "token"
    loss_unit = "bits per byte" if document.options.loss_unit == "bpb" else f"nats per {token}"
    params = params_name(document, document.convention.params)
    return AxisLabels(
        params=f"parameters {params}",
        params_opt=f"optimal {params}",
        tokens=f"training {token}s D",
        tokens_opt=f"optimal D (training {token}s)",
        flops=_of(document, FLOPS[document.convention.flops]),
        loss=f"final held-out loss ({loss_unit})",
        token=token,
        loss_unit=loss_unit,
    )


def params_name(document: FitDocument, convention: ParamsCount) -> str:
    """What N counts under a convention, as closely as is known of these runs."""
    return _of(document, PARAMS[convention])


def _of(document: FitDocument, name: str) -> str:
    return ({name: name} | _OURS)[name] if document.provenance.own_sweep else name


def visible(text: str) -> str:
    """Text whose control, direction and half characters show as replaced.

    They could steer a terminal, reorder what a reader sees, or have no UTF-8.
    """
    return _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text)


def law_name(key: str) -> str:
    """A law's name in a sentence."""
    labels = {name: law.label for name, law in LAWS.items()}
    labels |= {f"kaplan.L_{symbol}": f"Kaplan's L({symbol})" for symbol in "NDC"}
    labels["kaplan.L_ND"] = "Kaplan's L(N, D)"
    labels["hoffmann"] = "Hoffmann et al., approach 3"
    return ({key: key.replace("_", " ")} | labels)[key]


def by_law(key: str) -> str:
    """A law's name with its article, as in `by the parametric surface`."""
    return f"the {law_name(key)}" if key == "parametric" else law_name(key)


def has_numbers(law: Law | WithoutOutliers | None) -> bool:
    """Whether a law has numbers: ok or flagged."""
    return law is not None and law.status != "refused"


def flag_name(code: str) -> str:
    """A flag's code in words."""
    return ({code: code.replace("_", " ")} | _FLAGS)[code]


def flag_texts(flags: tuple[Flag, ...]) -> str:
    """The flags of a law, a prediction or an IsoFLOP curve in one cell of a table."""
    return "; ".join(flag.text for flag in flags) or "none"


def reason(law: Law) -> str:
    """Why a law was refused, without a full stop."""
    return (law.reason or "no reason given").rstrip(".")


def refusals(document: FitDocument) -> list[str]:
    """Each refused law with its reason."""
    laws = document.laws.items()
    return [f"{law_name(key)}: refused, {reason(law)}" for key, law in laws if not has_numbers(law)]


def not_drawn(law: Law | None, name: str) -> str:
    """Why a law has no figure."""
    if law is None:
        return f"the {name} was not asked for"
    if has_numbers(law):
        return f"a constant of the {name} is not identified"
    return f"the {name} was refused: {reason(law)}"


def curve_method(law: IsoflopLaw) -> str:
    """What an IsoFLOP curve is, by the method of the headline."""
    if law.method == "spline":
        return (
            "Curves are Akima splines of log loss through all sizes; a minimum is the median over "
            "draws of the runs' noise, so that it may lie beside its curve."
        )
    if law.method == "robust":
        return "Curves are of one skewed shape, which all budgets share."
    return "Curves are parabolas in log N over the sizes they were fitted to."
