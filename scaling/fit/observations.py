"""Runs as points that a fit may use: tables and sweep directories to arrays, exclusions named."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from common.errors import BadInput
from scaling.fit.budget_flops import as_flops, at_budget, mixed_flops
from scaling.fit.config import FitConfig
from scaling.fit.table.incomplete import incomplete_rows, refuse_incomplete
from scaling.fit.table.schema import NEEDED, NUMBERS, TEXTS, is_done, part_column, why_no_point
from scaling.fit.table.seeds import (
    average_losses,
    check_repeats,
    repeated,
    seed_groups,
    seeds_of,
    told_apart_by,
)

if TYPE_CHECKING:  # plans import this file and launchers plans: see table/columns.py
    from scaling.fit.table.columns import Table

LOSS_MIN = 1e-6  # nats; below it is a slip
LOSS_MAX = 50.0  # nats; a model that guesses evenly among 2^72 tokens
# Runs that differ in one of these were not measured on one scale and belong to no common law.
TOGETHER = ("dataset", "tokenizer", "vocab_size", "block_size", "data_digest", "eval_tokens")
_ARRAYS = ("params", "tokens", "flops", "loss", "flops_budget", "loss_se")


@dataclass(frozen=True)
class Exclusion:
    """A planned run that no fit uses, why, and which IsoFLOP curve lacks it."""

    run_id: str
    reason: str
    flops_budget: float = math.nan
    params: float = math.nan


@dataclass(frozen=True)
class Point:
    """N, D and C of one run."""

    params: float
    tokens: float
    flops: float


@dataclass(frozen=True)
class Observations:
    """Admitted (N, D, C, loss) points in a fixed order, one row each; arrays are float64 of (n,).

    params, tokens, flops   in the convention the headline laws use
    loss                    nats per token
    flops_budget            the IsoFLOP group a row belongs to; nan where there is none
    loss_se                 run-to-run standard deviation of loss; nan where unknown
    columns                 every other numeric column of the run table by name, nan where empty
    planned                 runs in the input; used + the excluded
    merged                  rows that seed averaging took away: used - observations
    members                 the runs that were averaged into an observation, by its run_id
    told_apart_by           text columns in which runs of one (N, D) differ, the most telling first
    """

    run_id: tuple[str, ...]
    params: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    loss: np.ndarray
    flops_budget: np.ndarray
    loss_se: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    planned: int = 0
    merged: int = 0
    excluded: tuple[Exclusion, ...] = ()
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    told_apart_by: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.run_id)

    def take(self, keep: np.ndarray) -> "Observations":
        """The rows of a mask or an index array; the counts of the whole stay."""
        return replace(
            self,
            run_id=tuple(np.array(self.run_id, dtype=object)[keep]),
            columns={name: column[keep] for name, column in self.columns.items()},
            **{name: getattr(self, name)[keep] for name in _ARRAYS},
        )


def observe(runs: "Table", config: FitConfig, parts: Sequence[str] = ()) -> Observations:
    """Admit runs to a fit, in an order that does not depend on theirs. Raises BadInput.

    planned = used + excluded, always: a row is used, or listed with the reason why not. `parts` are
    admitted beside those that the headline laws rest on; where.part= admits whatever it names.
    """
    table, points = admit(runs, config, parts)
    check_repeats(table, points.run_id, points.tokens)
    apart = told_apart_by(table, repeated(points.params, points.tokens), config)
    points = replace(points, told_apart_by=apart)
    groups = seed_groups(table, config)
    if len(groups) < len(points):
        points = _averaged(points, groups)
    if config.reduce == "best":
        points = _reduced(points)
    columns = {n: row for n, row in sorted(points.columns.items()) if np.isfinite(row).any()}
    lost = tuple(sorted(points.excluded, key=lambda lost: (lost.run_id, lost.reason)))
    return replace(points, columns=columns, excluded=lost)


def admit(
    runs: "Table", config: FitConfig, parts: Sequence[str] = ()
) -> tuple["Table", Observations]:
    """The rows of the runs that a fit may use, and each as a point, in one order. BadInput."""
    reasons = _reasons(runs, config, parts)
    used = np.array([reason is None for reason in reasons], dtype=bool)
    lacking = incomplete_rows(runs, used)
    if config.incomplete == "refuse":
        refuse_incomplete(runs, lacking, int(used.sum()))
    for row, what in lacking.items():
        reasons[row] = f"incomplete: {what}"
    table = runs.take(np.array([reason is None for reason in reasons], dtype=bool))
    known = table.known("data_digest")
    same_data = len(known) > 0 and known.all() and len(table.distinct("data_digest")[1]) == 1
    for name in TOGETHER:
        if name == "dataset" and same_data:
            continue  # its name says where the text lay, which may be at several places
        found = sorted(map(str, table.distinct(name)[1]))
        if len(found) > 1:
            raise BadInput(
                f"{name}: found {', '.join(found[:6])}, expected one value; such runs share no "
                f"law: choose one by where.{name}=, or fit each by by={name}"
            )
    points = _points(table, config)
    order = _order(points)
    budgets, params = (runs.numbers_or_nan(name).tolist() for name in ("flops_budget", "params"))
    excluded = tuple(
        Exclusion(runs.run_name(row), reason, budgets[row], params[row])
        for row, reason in enumerate(reasons)
        if reason is not None
    )
    points = points.take(order)
    named = tuple(
        name or table.numbered(row) for row, name in zip(order.tolist(), points.run_id, strict=True)
    )
    points = replace(points, run_id=named, planned=len(runs), excluded=excluded)
    return _without_numbered(table.take(order), points, config)


def admitted(runs: "Table", config: FitConfig, observations: Observations) -> dict[str, Point]:
    """The single runs behind the observations by name, each at its largest token count."""
    excluded = {lost.run_id for lost in observations.excluded}
    points = admit(runs, config)[1]
    found = zip(points.run_id, points.params, points.tokens, points.flops, strict=True)
    return {
        name: Point(*map(float, counts))
        for name, *counts in sorted(found, key=lambda run: run[2])
        if name not in excluded
    }


def _reasons(runs: "Table", config: FitConfig, parts: Sequence[str]) -> list[str | None]:
    """Why each run is left out; None for those that are used."""
    reasons: list[str | None] = [None] * len(runs)
    role = part_column(runs.names)
    if not (config.exclude or runs.known("status").any() or runs.known(role).any()):
        return reasons
    by_arm = "arm" in config.where
    texts = [runs.texts(name) for name in ("Name", "status", "reason", role, "arm")]
    for row, (name, status, cause, part, arm) in enumerate(zip(*texts, strict=True)):
        if {runs.run_name(row), name} & set(config.exclude):
            reasons[row] = "excluded by request"
        elif not is_done(status):
            reasons[row] = f"status {status}" + (f": {cause}" if cause else "")
        # Of a sweep without arms where.arm= names the part.
        elif part not in parts and not (role in config.where or (part == arm and by_arm)):
            reasons[row] = why_no_point(role, part)
    return reasons


def _points(table: "Table", config: FitConfig) -> Observations:
    """Each row as a point; a row without a name has the name \"\". Raises BadInput."""
    params, tokens = table.positive("params"), table.positive("tokens")
    loss = _losses(table)
    columns = {
        name: table.numbers(name) if name in NUMBERS else table.numbers_or_nan(name)
        for name in table.names
        if name not in (*NEEDED, *TEXTS)
    }
    for name in ("flops", "flops_budget", "flops_6nd", "flops_exact"):
        table.positive(name, needed=False)
    unknown = np.full(len(table), np.nan)
    loss_se = columns.pop("loss_se", unknown)
    expected = f"at least 0 and at most {LOSS_MAX:g} nats"
    table.check(~((loss_se < 0) | (loss_se > LOSS_MAX)), "loss_se", loss_se, expected)
    if (role := part_column(table.names)) in table.names:
        columns["horizon"] = np.where(np.array(table.texts(role)) == "horizons", 1.0, np.nan)
    if config.convention.params not in (None, "given"):
        columns["params_given"] = params
        asked = f"convention.params={config.convention.params}"
        params = _counted(table, f"params_{config.convention.params}", asked)
    given, by_rule = columns.pop("flops", unknown), 6.0 * params * tokens
    if config.convention.flops == "exact":
        given = _counted(table, "flops_exact", "convention.flops=exact")
    elif config.convention.flops == "6nd":
        given = by_rule
    own = np.where(np.isnan(given), by_rule, given)
    budget = as_flops(columns.pop("flops_budget", unknown), own)
    if config.convention.flops in (None, "given"):
        given = at_budget(given, budget)
        if config.convention.flops is None and mixed_flops(given, by_rule):
            given = at_budget(unknown, budget)  # one count for all
    return Observations(
        run_id=tuple(name or "" for name in table.texts("run_id")),
        params=params,
        tokens=tokens,
        flops=np.where(np.isnan(given), by_rule, given),
        loss=loss,
        flops_budget=budget,
        loss_se=np.where(loss_se > 0, loss_se, np.nan),
        columns={name: values for name, values in columns.items() if name != "stale"},
    )


def _losses(table: "Table") -> np.ndarray:
    if "loss" not in table.names:  # of minima alone
        return np.full(len(table), np.nan)
    loss, expected = table.numbers("loss"), f"above 0 and at most {LOSS_MAX:g} nats"
    less = "; a loss below 0 is no cross entropy" if (loss < 0).any() else ""
    table.check((loss > 0) & (loss <= LOSS_MAX), "loss", loss, expected + less)
    table.check(loss >= LOSS_MIN, "loss", loss, f"at least {LOSS_MIN:g} nats")
    return loss


def _without_numbered(
    table: "Table", points: Observations, config: FitConfig
) -> tuple["Table", Observations]:
    """Leaves out the rows that are excluded by the numbers which they have without a name."""
    lost = np.isin(np.array(points.run_id, dtype=object), config.exclude)
    if not lost.any():
        return table, points
    rows = points.take(lost)
    found = zip(rows.run_id, rows.flops_budget.tolist(), rows.params.tolist(), strict=True)
    more = tuple(Exclusion(name, "excluded by request", *where) for name, *where in found)
    kept = points.take(~lost)
    return table.take(~lost), replace(kept, excluded=(*points.excluded, *more))


def _counted(table: "Table", name: str, asked: str) -> np.ndarray:
    """The count that a convention asks for; BadInput names the column where the table lacks it."""
    if name not in table.names:
        raise BadInput(f"{asked}: no column {name}, which it needs; map it, as columns.{name}=NAME")
    return table.positive(name)


def _order(points: Observations) -> np.ndarray:
    """The indices that sort points by content, so that a permuted table gives the same bits."""
    budgets = np.where(np.isnan(points.flops_budget), -1.0, points.flops_budget)
    name = np.unique(np.array(points.run_id, dtype=object), return_inverse=True)[1]
    return np.lexsort((points.flops, name, points.loss, points.tokens, points.params, budgets))


def _averaged(points: Observations, groups: Sequence[Sequence[int]]) -> Observations:
    """Each group of runs that differ in their seed alone as one observation."""
    members = [tuple(sorted(points.run_id[row] for row in group)) for group in groups]
    loss, loss_se = average_losses(points.loss, points.loss_se, groups)
    one = points.take(np.array([group[0] for group in groups]))
    one = replace(
        one,
        run_id=tuple(map("+".join, members)),
        loss=loss,
        loss_se=loss_se,
        columns={**one.columns, **seeds_of(points.columns, groups)},
        merged=len(points) - len(groups),
        members={"+".join(names): names for names in members if len(names) > 1},
    )
    return one.take(_order(one))


def _reduced(points: Observations) -> Observations:
    """Of repeated (N, D) points the one with the lowest loss; the others become exclusions."""
    repeats = repeated(points.params, points.tokens)
    best = {row: min(group, key=points.loss.__getitem__) for group in repeats for row in group}
    dropped = [row for row in best if row != best[row]]
    lost = tuple(
        Exclusion(
            points.run_id[row],
            f"reduce=best: {points.run_id[best[row]]} is lower",
            float(points.flops_budget[row]),
            float(points.params[row]),
        )
        for row in dropped
    )
    kept = points.take(np.setdiff1d(np.arange(len(points)), dropped))
    return replace(kept, excluded=(*points.excluded, *lost))
