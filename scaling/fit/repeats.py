"""The same run twice: rows refused, seeds averaged, repeated (N, D) points reduced."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.errors import BadInput


@dataclass(frozen=True)
class Exclusion:
    """A planned run that no fit uses, and why; its budget and size tell which valley it leaves."""

    run_id: str
    reason: str
    flops_budget: float = math.nan
    params: float = math.nan


@dataclass(frozen=True)
class Point:
    """One run, or the average of some, on the way to an observation.

    identity  what repeats have in common; empty where no seed is known
    members   the runs of an average; empty for a single run
    """

    run_id: str
    params: float
    tokens: float
    flops: float
    loss: float
    flops_budget: float
    loss_se: float
    others: Mapping[str, float]
    identity: tuple[Any, ...]
    place: str
    members: tuple[str, ...] = ()


def in_order(points: Sequence[Point]) -> list[Point]:
    """Sorted by content, so that a permuted table gives the same bits; then the nameless named."""

    def key(point: Point) -> tuple[Any, ...]:
        budget = -1.0 if math.isnan(point.flops_budget) else point.flops_budget
        return (budget, point.params, point.tokens, point.loss, point.run_id, point.flops)

    return [
        point if point.run_id else replace(point, run_id=f"row-{index:05d}")
        for index, point in enumerate(sorted(points, key=key), 1)
    ]


def check_repeats(points: Sequence[Point]) -> None:
    """Refuse a (run_id, tokens) that occurs twice."""
    seen: dict[tuple[str, float], str] = {}
    for point in points:
        key = (point.run_id, point.tokens)
        if key in seen:
            raise BadInput(
                f"{point.place}: run_id {point.run_id} with {point.tokens:g} tokens is also in "
                f"{seen[key]}; expected each (run_id, tokens) once"
            )
        seen[key] = point.place


def average_seeds(points: Sequence[Point]) -> tuple[list[Point], int]:
    """Runs equal but for their seed become one, and tell how far apart two seeds lie.

    The variance between seeds is pooled over all groups, since two or three seeds at one place
    say little alone; the mean of k seeds has 1/k of it. A loss_se that was given stays.
    """
    groups: dict[Any, list[Point]] = {}
    for index, point in enumerate(points):
        groups.setdefault(point.identity or index, []).append(point)
    repeats = [group for group in groups.values() if len(group) > 1]
    if not repeats:
        return list(points), 0
    squares = sum(
        sum((p.loss - sum(q.loss for q in group) / len(group)) ** 2 for p in group)
        for group in repeats
    )
    seed_sd = math.sqrt(squares / sum(len(group) - 1 for group in repeats))
    merged = []
    for group in groups.values():
        first, k = group[0], len(group)
        members = tuple(sorted(point.run_id for point in group))
        given = [point.loss_se for point in group if not math.isnan(point.loss_se)]
        sd = given[0] if given else seed_sd
        merged.append(
            replace(
                first,
                run_id="+".join(members),
                members=members if k > 1 else (),
                loss=sum(point.loss for point in group) / k,
                loss_se=sd / math.sqrt(k) if sd > 0 else math.nan,
                others={**first.others, "seeds": float(k)},
            )
        )
    return in_order(merged), len(points) - len(merged)


def reduce_to_best(points: Sequence[Point]) -> tuple[list[Point], list[Exclusion]]:
    """Of repeated (N, D) points the one with the lowest loss; the others become exclusions."""
    best: dict[tuple[float, float], Point] = {}
    for point in points:
        key = (point.params, point.tokens)
        if key not in best or point.loss < best[key].loss:
            best[key] = point
    kept = set(map(id, best.values()))
    dropped = [
        Exclusion(
            point.run_id,
            f"reduce=best: {best[point.params, point.tokens].run_id} is lower",
            point.flops_budget,
            point.params,
        )
        for point in points
        if id(point) not in kept
    ]
    return [point for point in points if id(point) in kept], dropped
