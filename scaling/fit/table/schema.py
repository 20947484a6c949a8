"""The names of the run table's columns, and which of a user's columns may be one of them."""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from common.errors import BadInput
from common.text import listed

# What the endings of tables say.
TABLE_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
NEEDED = ("params", "tokens", "loss")
_NUMBER_NAMES = """
    flops flops_budget params_total params_non_embedding params_matmul params_effective flops_6nd
    flops_exact loss_se n_layer n_head n_embd vocab_size block_size batch_tokens lr warmup_tokens
    cooldown_tokens unique_tokens epochs seed wall_s step is_final
"""
NUMBERS = tuple(_NUMBER_NAMES.split())
TEXTS = ("run_id", "status", "dataset")
OURS = (*NEEDED, *NUMBERS, *TEXTS)

# What a run of a sweep is for (scaling/plan/config.py: Part), in the column `part`, or `arm` where
# there is none: which runs are no points of its laws, and why.
OTHER_PARTS = {
    "scout": "its rate and batch are not tuned yet",
    "tuning": "learning rate or batch off the rule",
    "control_long_warmup": "its warm-up is too long on purpose",
    "control_long_cosine": "its cosine does not end at the budget, on purpose",
}
PARTS = frozenset(("grid", "horizons", *OTHER_PARTS))

# A letter after a count, as in 1.5M.
LETTERS = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}

# Columns that a table may count in a unit of its own.
COUNTS = (
    *("params", "params_total", "params_non_embedding", "params_matmul", "params_effective"),
    *("tokens", "flops", "flops_budget", "flops_6nd", "flops_exact"),
    *("batch_tokens", "warmup_tokens", "cooldown_tokens", "unique_tokens"),
)


# What ours, Weights & Biases, MLflow, Slurm and others call a run that ended well.
DONE = frozenset(
    ("done", "finished", "complete", "completed", "success", "succeeded", "successful", "ok")
)
# The words of Weights & Biases, MLflow, Slurm and ours for runs that did not end well, or not yet.
_OTHERS = """
    crashed failed failure error killed cancelled canceled aborted timeout preempted preempting
    running pending queued scheduled unfinished damaged diverged oom out_of_memory node_fail
"""
OTHERS = frozenset(_OTHERS.split())

# What others call the three columns without which there is no fit; `_plain` makes them alike.
_USUAL_NAMES = {
    "params": """n n_params num_params nparams param_count params_count num_parameters n_parameters
        parameters total_params total_parameters trainable_params trainable_parameters
        num_trainable_params model_params model_parameters model_num_params model_size size""",
    "tokens": """d n_tokens num_tokens ntokens train_tokens training_tokens total_tokens tokens_seen
        seen_tokens tokens_total consumed_tokens consumed_train_tokens num_tokens_seen
        num_input_tokens_seen total_training_tokens throughput_total_tokens t""",
    "loss": """l val_loss valid_loss validation_loss eval_loss final_loss test_loss loss_val
        val_ce_loss eval_ce_loss validation_ce_loss val_cross_entropy eval_cross_entropy
        final_val_loss best_val_loss train_loss""",
}
_CONTAINERS = ("config", "summary", "train", "trainer", "perf", "model")


# What programs write for nothing, and for a loss that is none.
_NOTHING = frozenset(("nan", "none", "null", "n/a", "na", "#n/a", "<na>", "-", "--", "?"))
_INFINITE = frozenset(("inf", "-inf", "+inf", "infinity", "-infinity"))


def is_missing(text: str | None, with_infinity: bool = True) -> bool:
    """Whether a cell says that there is no number."""
    if text is None:
        return True
    plain = text.strip().lower()
    return plain in _NOTHING or (with_infinity and plain in _INFINITE)


def as_compared(value: Any) -> float | str:
    """What values are compared by: a number where it is one, else its text, `nan` included."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return str(value)
    return str(value) if math.isnan(number) else number


def part_column(names: Iterable[str]) -> str:
    """The column that says what a run of a sweep is for."""
    return "part" if "part" in set(names) else "arm"


def why_no_point(role: str, part: str | None) -> str | None:
    """Why a run of that part, by its column `role`, is no point of the laws; None if it is one."""
    return f"{role} {part}: {OTHER_PARTS[part]}" if part in OTHER_PARTS else None


def is_done(status: str | None) -> bool:
    """Whether a status says that the run ended well, or nothing."""
    return status is None or status.strip().lower() in DONE


def check_known(name: str, key: str, columns: Iterable[str]) -> None:
    """Refuse a column that no table has; `key` is the option that names it."""
    have = list(columns)
    if name not in have:
        hint = did_you_mean(name, have) or f"; there are {listed(have)}"
        raise BadInput(f"{key}: no column {name!r}{hint}")


def is_usual(name: str, column: str) -> bool:
    """Whether a column is called what others call `name`, in any of their folders."""
    usual = {name, *_USUAL_NAMES[name].split()}
    parts = _plain(column).split("_")
    while parts:
        if "_".join(parts) in usual:
            return True
        if parts[0] not in _CONTAINERS:
            return False
        parts = parts[1:]
    return False


def is_ours(column: str) -> bool:
    """Whether a column is one of the run table, or is called what others call a needed one."""
    return column in OURS or any(is_usual(name, column) for name in NEEDED)


def is_loss(column: str) -> bool:
    """Whether a column is a loss by its name: `loss_bpb`, `val_loss`, `train/loss`."""
    return "loss" in _plain(column).split("_")


def usual_order(name: str, columns: Sequence[str]) -> list[str]:
    """The columns with a name that others give `name`, the most telling name first."""
    plain = {_plain(column): column for column in reversed(columns)}
    return [plain[usual] for usual in _USUAL_NAMES[name].split() if usual in plain]


def did_you_mean(name: str, known: Iterable[str], option: str = "") -> str:
    """The end of a message that names what is nearest to a name that is not known."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {option}{near[0]}?" if near else ""


def _plain(column: str) -> str:
    """A name in lower case with one underscore between words: `val/loss` is `val_loss`."""
    return "_".join(re.findall(r"[a-z0-9]+", column.lower()))
