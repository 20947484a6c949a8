"""Losses that are no nats: perplexities and bits become nats, others are told from their names."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.fit.flags import Flag
from scaling.fit.table.hints import words_of

if TYPE_CHECKING:  # plans import what imports this: see columns.py
    from scaling.fit.table.columns import Table

# Units that are converted on reading, in words.
CONVERTED = {"ppl": "perplexities", "bits": "bits per token"}
# The words of a column that say what it holds, and the loss_unit that reads it.
_NAMED = {
    **dict.fromkeys(("ppl", "perplexity", "perplexities"), "ppl"),
    **dict.fromkeys(("bpb", "bpc", "byte", "bytes", "char"), "bpb"),
    **dict.fromkeys(("bits", "bit"), "bits"),
}
_NO_LOSS = {"acc", "accuracy", "score", "f1", "exact", "match", "bleu", "rouge", "reward", "auc"}


def nats(values: np.ndarray, unit: str) -> np.ndarray:
    """Losses in nats per token; bits per byte stay, since no table has the bytes of a token."""
    if unit == "ppl":
        return np.log(np.where(values > 0, values, np.nan))
    return values * math.log(2) if unit == "bits" else values


def in_nats(table: "Table", unit: str) -> "Table":
    """The table with its loss, and loss_se, in nats; what is no loss stays to be refused."""
    if unit not in CONVERTED:
        return table
    loss = table.numbers_or_nan("loss")
    found = nats(loss, unit)
    columns: dict[str, Any] = {}
    if "loss_se" in table.names:
        spread = table.numbers_or_nan("loss_se")
        columns["loss_se"] = _column(spread / loss if unit == "ppl" else nats(spread, unit))
    wrong = np.isnan(found) & table.known("loss")
    if wrong.any():
        texts = table.texts("loss")
        columns["loss"] = [
            text if bad or text is None else repr(float(value))
            for text, bad, value in zip(texts, wrong, found, strict=True)
        ]
    else:
        columns["loss"] = _column(found)
    return table.with_columns(columns)


def unit_flags(read: str, asked: str) -> list[Flag]:
    """What to know of the column that the loss is read from, by its name and the unit asked for."""
    if asked in CONVERTED:
        text = (
            f"losses of {read!r} were read as {CONVERTED[asked]} and are fitted in nats per token"
        )
        return [Flag("loss_unit", text)]
    words = words_of(read)
    if asked == "bpb":
        return []
    if _NO_LOSS & set(words):
        return [Flag("no_loss", f"loss was read from {read!r}, which its name says is no loss")]
    units = [unit for word, unit in _NAMED.items() if word in words]
    if not units:
        return []
    unit = "bpb" if "bpb" in units else units[0]
    text = (
        f"loss was read in nats from {read!r}, whose name says {unit}: loss_unit={unit} reads it so"
    )
    return [Flag("loss_unit", text)]


def rising(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> bool:
    """Whether a loss rises with size and with data, as an accuracy does; arrays of (n,)."""
    design = np.column_stack([np.ones(len(loss)), np.log(params), np.log(tokens)])
    if len(loss) < 6 or np.linalg.cond(design - [0, *design.mean(0)[1:]]) > 1e3:
        return False
    slopes = np.linalg.lstsq(design, loss, rcond=None)[0]
    unexplained = ((loss - design @ slopes) ** 2).sum() / max(
        ((loss - loss.mean()) ** 2).sum(), 1e-300
    )
    return bool(slopes[1] > 0 and slopes[2] > 0 and unexplained < 0.5)


def _column(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
