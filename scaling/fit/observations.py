"""Runs as points that a fit may use: tables and sweep directories to arrays, exclusions named."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from configs.errors import BadInput
from scaling.fit.cells import number, number_or_nan, positive, refuse
from scaling.fit.columns import Row
from scaling.fit.config import FitConfig
from scaling.fit.names import NEEDED, NUMBERS, TEXTS, is_loss
from scaling.fit.repeats import (
    Exclusion,
    Point,
    average_seeds,
    check_repeats,
    in_order,
    reduce_to_best,
)

LOSS_MIN = 1e-6  # nats; below it is a slip
LOSS_MAX = 50.0  # nats; a model that guesses evenly among 2^72 tokens
# Runs that differ in one of these were not measured on one scale and belong to no common law.
TOGETHER = ("dataset", "tokenizer", "vocab_size", "block_size", "data_digest", "eval_tokens")
# What a run led to, against what it was: two runs equal in all but these and the seed are repeats.
_OUTCOME_NAMES = """
    run_id seed status reason attempts wall_s train_s first_step_s tokens_per_s mfu peak_memory
    train_loss step steps is_final stale id schema weights_digest config_digest bitwise started
    ended torch device threads world_size code_commit code_dirty spikes spike_step spike_nats epochs
    arm
    Name ID State Notes User Tags Created Updated Runtime Hostname Sweep _step _runtime _timestamp
"""
_OUTCOMES = frozenset(_OUTCOME_NAMES.split())  # ours, then those of a Weights & Biases export
# Runs of a sweep that are no points of its laws (scaling/plan/grid.py: Arm), and why.
_OTHER_ARMS = {
    "scout": "its rate and batch are not tuned yet",
    "tuning": "learning rate or batch off the rule",
    "control_long_warmup": "its warm-up is too long on purpose",
    "control_long_cosine": "its cosine does not end at the budget, on purpose",
}


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


_ARRAYS = ("params", "tokens", "flops", "loss", "flops_budget", "loss_se")


def observe(rows: Sequence[Row], config: FitConfig, arms: Sequence[str] = ()) -> Observations:
    """Admit rows to a fit, in an order that does not depend on theirs. Raises BadInput.

    planned = used + excluded, always: a row is used, or listed with the reason why not. `arms` are
    admitted beside those that the headline laws rest on; where.arm= admits whatever it names.
    """
    planned = len(rows)
    used, excluded = _admit(rows, config, arms)
    _check_together(used)
    points = [_point(row, config) for row in used]
    told_apart_by = _told_apart_by(used, points, config)
    points = in_order(points)
    check_repeats(points)
    points, merged = average_seeds(points)
    if config.reduce == "best":
        points, dropped = reduce_to_best(points)
        excluded += dropped
    names = sorted({name for point in points for name in point.others})
    return Observations(
        run_id=tuple(point.run_id for point in points),
        **{name: np.array([getattr(p, name) for p in points], dtype=float) for name in _ARRAYS},
        columns={
            name: np.array([p.others.get(name, math.nan) for p in points], dtype=float)
            for name in names
        },
        planned=planned,
        merged=merged,
        excluded=tuple(sorted(excluded, key=lambda item: (item.run_id, item.reason))),
        members={point.run_id: point.members for point in points if point.members},
        told_apart_by=told_apart_by,
    )


def admitted(
    rows: Sequence[Row], config: FitConfig, observations: Observations
) -> dict[str, Point]:
    """The single runs behind the observations by name, each at its largest token count."""
    excluded = {lost.run_id for lost in observations.excluded}
    points = [_point(row, config) for row in _admit(rows, config)[0]]
    points = [point for point in points if point.run_id and point.run_id not in excluded]
    return {point.run_id: point for point in sorted(points, key=lambda point: point.tokens)}


def _admit(
    rows: Sequence[Row], config: FitConfig, arms: Sequence[str] = ()
) -> tuple[list[Row], list[Exclusion]]:
    used, excluded = [], []
    for row in rows:
        name, status = str(row.values.get("run_id") or row.place), row.values.get("status")
        reason = None
        if {name, str(row.values.get("Name"))} & set(config.exclude):
            reason = "excluded by request"
        elif status not in (None, "done"):
            cause = row.values.get("reason")
            reason = f"status {status}" + (f": {cause}" if cause else "")
        elif "arm" not in config.where and (arm := row.values.get("arm")) not in arms:
            why = _OTHER_ARMS.get(str(arm))
            reason = f"arm {arm}: {why}" if why else None
        if reason is None:
            used.append(row)
        else:
            budget, params = (number_or_nan(row, key) for key in ("flops_budget", "params"))
            excluded.append(Exclusion(name, reason, budget, params))
    return used, excluded


def _check_together(rows: Sequence[Row]) -> None:
    for name in TOGETHER:
        found = sorted({str(row.values[name]) for row in rows if row.values.get(name) is not None})
        if len(found) > 1:
            raise BadInput(
                f"{name}: found {', '.join(found[:6])}, expected one value; such runs share no "
                f"law: choose one by where.{name}=, or fit each by by={name}"
            )


def _point(row: Row, config: FitConfig) -> Point:
    values = {name: positive(row, name) for name in ("params", "tokens")}
    try:
        loss = number(row, "loss")
    except BadInput as error:
        if str(row.values.get("loss")).lower() not in ("none", "nan", "inf"):
            raise
        run = row.values.get("run_id") or row.place  # it diverged, say, or was killed
        raise BadInput(f"{error}; exclude=[{run}] leaves the run out") from None
    if not 0 < loss <= LOSS_MAX:
        raise refuse(row, "loss", f"{loss:g}", f"above 0 and at most {LOSS_MAX:g} nats")
    if loss < LOSS_MIN:
        raise refuse(row, "loss", f"{loss:g}", f"at least {LOSS_MIN:g} nats")
    others = {}
    for name in row.values:
        if name in NUMBERS and row.values[name] is not None:
            others[name] = number(row, name)
        elif name not in (*NEEDED, *TEXTS) and (value := number_or_nan(row, name)) == value:
            others[name] = value
    for name in ("flops", "flops_budget", "flops_6nd", "flops_exact"):
        if name in others:
            positive(row, name)
    if not 0 <= others.get("loss_se", 0.0) <= LOSS_MAX:
        expected = f"at least 0 and at most {LOSS_MAX:g} nats"
        raise refuse(row, "loss_se", f"{others['loss_se']:g}", expected)
    if row.values.get("arm") == "horizons":
        others["horizon"] = 1.0
    params = values["params"]
    if config.convention.params not in (None, "given"):
        name = f"params_{config.convention.params}"
        params = _counted(row, name, f"convention.params={config.convention.params}")
        others["params_given"] = values["params"]
    return Point(
        run_id=str(row.values["run_id"]) if row.values.get("run_id") is not None else "",
        params=params,
        tokens=values["tokens"],
        flops=_flops(row, config, params, values["tokens"], others),
        loss=loss,
        flops_budget=others.pop("flops_budget", math.nan),
        loss_se=others.pop("loss_se", math.nan) or math.nan,
        others={name: value for name, value in others.items() if name not in ("flops", "stale")},
        identity=_identity(row, config) if "seed" in others else (),
        place=row.place,
    )


def _told_apart_by(
    rows: Sequence[Row], points: Sequence[Point], config: FitConfig
) -> tuple[str, ...]:
    """Observations.told_apart_by; not what names each run, nor what a run led to."""
    groups: dict[Any, list[Row]] = {}
    for row, point in zip(rows, points, strict=True):
        groups.setdefault((point.params, point.tokens), []).append(row)
    kinds: Counter[str] = Counter()
    for group in groups.values():
        for name in rows[0].values if len(group) > 1 else ():
            if name not in _OUTCOMES and name not in config.columns.values():
                texts = {row.values.get(name) for row in group if _is_text(row, name)}
                kinds[name] += max(len(texts) - 1, 0)
    names = [
        name
        for name, count in kinds.items()
        if count and len({row.values.get(name) for row in rows}) < len(rows)
    ]
    return tuple(sorted(names, key=lambda name: (-kinds[name], name)))


def _is_text(row: Row, name: str) -> bool:
    return isinstance(row.values.get(name), str) and math.isnan(number_or_nan(row, name))


def _counted(row: Row, name: str, asked: str) -> float:
    """The count that a convention asks for; BadInput names the column where there is none."""
    if name not in row.values:
        raise BadInput(f"{asked}: no column {name}, which it needs; map it, as columns.{name}=NAME")
    return positive(row, name)


def _flops(
    row: Row, config: FitConfig, params: float, tokens: float, others: Mapping[str, float]
) -> float:
    """FLOP of a run in the convention asked for; 6 N D where the table has none."""
    if config.convention.flops == "exact":
        return _counted(row, "flops_exact", "convention.flops=exact")
    if config.convention.flops == "6nd":
        return 6.0 * params * tokens
    return others.get("flops", 6.0 * params * tokens)


def _identity(row: Row, config: FitConfig) -> tuple[Any, ...]:
    """What a run was. A column that is mapped counts once, under our name and not under theirs."""
    skipped = _OUTCOMES | set(config.columns.values())
    return tuple(
        (name, str(row.values[name]))
        for name in sorted(row.values)
        if name not in skipped and not is_loss(name) and row.values[name] is not None
    )
