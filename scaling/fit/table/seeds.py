"""The same run twice: rows refused, seeds averaged, repeated (N, D) points reduced."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.errors import BadInput
from scaling.fit.config import FitConfig
from scaling.fit.table.schema import PARTS, is_loss

if TYPE_CHECKING:  # plans import this file and launchers plans: see columns.py
    from scaling.fit.table.columns import Table

# What a run led to, against what it was: two runs equal in all but these and the seed are repeats.
_OUTCOME_NAMES = """
    run_id seed status reason attempts wall_s train_s first_step_s tokens_per_s mfu peak_memory
    train_loss step steps is_final stale id schema weights_digest config_digest bitwise started
    ended torch device threads world_size code_commit code_dirty spikes spike_step spike_nats epochs
    part digest sdpa loss_by_position flops_spent
    Name ID State Notes User Tags Created Updated Runtime Hostname Sweep _step _runtime _timestamp
"""
OUTCOMES = frozenset(_OUTCOME_NAMES.split())  # ours, then those of a Weights & Biases export


def check_repeats(table: "Table", run_id: Sequence[str], tokens: np.ndarray) -> None:
    """Refuse a (run_id, tokens) that occurs twice."""
    if len(set(run_id)) == len(run_id):
        return
    seen: dict[tuple[str, float], int] = {}
    for row, key in enumerate(zip(run_id, tokens.tolist(), strict=True)):
        if key in seen:
            raise BadInput(
                f"{table.place(row)}: run_id {key[0]} with {key[1]:g} tokens is also in "
                f"{table.place(seen[key])}; expected each (run_id, tokens) once"
            )
        seen[key] = row


def seed_groups(table: "Table", config: FitConfig) -> list[list[int]]:
    """The rows that are one run but for their seed, equal in all of their settings.

    A row without a seed is a group of its own. Groups are in order of their first row.
    """
    row = np.arange(len(table))
    if not table.known("seed").any():
        return row[:, None].tolist()
    data = table.data.select(settings(table, config))
    names = list(map(str, range(data.num_columns)))  # a name may look like a path to Arrow
    apart = np.where(table.known("seed"), -1, row)
    data = data.rename_columns(names).append_column("apart", [apart]).append_column("row", [row])
    grouped = data.group_by([*names, "apart"], use_threads=False).aggregate([("row", "list")])
    return sorted(grouped["row_list"].to_pylist())


def average_losses(
    loss: np.ndarray, loss_se: np.ndarray, groups: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """The mean loss of each group and the standard deviation of that mean, nan where unknown.

    The variance between seeds is pooled over all groups, since two or three seeds at one place
    say little alone; the mean of k seeds has 1/k of it. A loss_se that was given stays.
    """
    means = [sum(loss[group].tolist()) / len(group) for group in groups]
    squares = sum(
        sum((one - mean) ** 2 for one in loss[group].tolist())
        for group, mean in zip(groups, means, strict=True)
        if len(group) > 1
    )
    seed_sd = math.sqrt(squares / sum(len(group) - 1 for group in groups))
    given = [next(iter(known[~np.isnan(known)]), seed_sd) for known in (loss_se[g] for g in groups)]
    sd = np.array(given) / np.sqrt([len(group) for group in groups])
    return np.array(means), np.where(sd > 0, sd, np.nan)


def seeds_of(
    columns: Mapping[str, np.ndarray], groups: Sequence[Sequence[int]]
) -> dict[str, np.ndarray]:
    """The least seed of each group and how many there are: an average has no seed of its own."""
    least = np.array([columns["seed"][group].min() for group in groups])
    return {"seed": least, "seeds": np.array([float(len(group)) for group in groups])}


def settings(table: "Table", config: FitConfig) -> list[str]:
    """The columns that say what a run was. One that is mapped counts once, under our name."""
    skipped = _outcomes(table) | set(config.columns.values())
    return [name for name in table.names if name not in skipped and not is_loss(name)]


def _outcomes(table: "Table") -> frozenset[str]:
    """With `arm`, where that says what a run of a sweep is for, and names nothing to compare."""
    names_parts = "arm" in table.names and set(table.distinct("arm")[1]) <= PARTS
    return OUTCOMES | {"arm"} if names_parts else OUTCOMES


def repeated(params: np.ndarray, tokens: np.ndarray) -> list[list[int]]:
    """The rows of each (N, D) that has more than one."""
    order = np.lexsort((tokens, params))
    other = (np.diff(params[order]) != 0) | (np.diff(tokens[order]) != 0)
    if other.all():
        return []
    groups = np.split(order, np.flatnonzero(other) + 1)
    return sorted(group.tolist() for group in groups if len(group) > 1)


def told_apart_by(
    table: "Table", repeats: Sequence[Sequence[int]], config: FitConfig
) -> tuple[str, ...]:
    """The columns of text in which runs of one (N, D) differ, the most telling first.

    Not what names each run, nor what a run led to.
    """
    kinds: dict[str, int] = {}
    outcomes = _outcomes(table)
    for name in table.names if repeats else ():
        if name in outcomes or name in config.columns.values():
            continue
        values, number = table.values(name), table.numbers_or_nan(name)
        texts = [
            v if isinstance(v, str) and math.isnan(number[row]) else None
            for row, v in enumerate(values)
        ]
        count = sum(max(len({texts[row] for row in group} - {None}) - 1, 0) for group in repeats)
        if count and len(set(values)) < len(values):
            kinds[name] = count
    return tuple(sorted(kinds, key=lambda name: (-kinds[name], name)))
