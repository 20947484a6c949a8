"""Forms of the surface compared: objective over all runs, and error on runs that no form has seen.

Every form meets the same splits: the held-out budget, and the highest three tenths of the runs in
C, in N and in D, each tenth predicted by all runs below it (rolling). The error is the root mean
square of log(predicted/observed). Forms are ranked by the held-out budget, else by rolling in C.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from scaling.fit.checks.holdout import held_out
from scaling.fit.config import FitConfig
from scaling.fit.data_flags import FEWEST_VALUES, poor_design, too_few_points
from scaling.fit.numerics import Rows
from scaling.fit.numerics.huber import SETTLED_RESAMPLE
from scaling.fit.observations import Observations
from scaling.fit.parametric import forms
from scaling.fit.parametric.bootstrap import constants
from scaling.fit.parametric.criterion import rows_of
from scaling.fit.parametric.form_fit import loss_of_guessing, nested_test, optimum
from scaling.fit.parametric.forms import COUPLED, HOFFMANN, TIED, Form
from scaling.fit.parametric.minimum import minimise, stages, width
from scaling.fit.results.checks import FormErrors, FormRow
from scaling.fit.results.estimate import Estimate

MOST_ROWS = 2000  # more would take longer than the laws themselves
_TENTHS = (0.7, 0.8, 0.9)
_SPARE = 1  # runs beyond the constants fitted, below a split
_ROUNDING = 1e-9


def compare_forms(observations: Observations, config: FitConfig) -> tuple[FormRow, ...]:
    """A row for each form, best first; none where the surface itself cannot be fitted."""
    if "parametric" not in config.asked or len(observations) > MOST_ROWS:
        return ()
    delta = width(config.objective, config.delta)
    rows = rows_of(observations, config.objective, config.surface)
    if too_few_points(observations, constants(rows)) or poor_design(observations):
        return ()
    point = minimise(rows, delta)
    splits = dict(_splits(observations, config))
    found = []
    for form in known_forms(observations, config.loss_unit):
        if (fit := optimum(form, rows, point, delta)) is None:
            continue
        theta, objective = fit
        edge = bool(forms.at_bounds(form, theta[None])[0])
        found.append(
            FormRow(
                form=form.name,
                equation=form.equation,
                status="refused" if edge else "ok",
                reason="a constant is at its bound" if edge else None,
                parameters=len(form.of(rows)),
                objective=objective,
                k=Estimate(float(np.exp(theta[forms.LOG_K]))) if form is COUPLED else None,
                against_hoffmann=nested_test(form, theta, objective, point, rows, delta),
                held_out=_errors(form, theta, rows, splits, delta),
                rank=None,
            )
        )
    return _ranked(found)


def known_forms(observations: Observations, loss_unit: str) -> Iterator[Form]:
    """Hoffmann's first, then the others; `bounded` where the loss of guessing is known."""
    yield from (HOFFMANN, TIED, COUPLED)
    ceiling = loss_of_guessing(observations, loss_unit)
    if isinstance(ceiling, float):
        yield forms.bounded(ceiling)


Parts = list[tuple[np.ndarray, np.ndarray]]  # masks of the runs fitted and of those predicted


def _splits(observations: Observations, config: FitConfig) -> Iterator[tuple[str, Parts]]:
    if config.holdout == "none":
        return
    held, budget = held_out(observations, config)
    top = np.zeros(len(observations), dtype=bool)
    top[budget] = True
    yield "top", _usable(observations, [(~held, top)])
    for name in ("flops", "params", "tokens"):
        yield name, _usable(observations, list(_rolling(getattr(observations, name))))


def _rolling(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each of the highest tenths by all below it; runs of one value stay together."""
    edges = np.unique([np.quantile(values, tenth, method="higher") for tenth in _TENTHS])
    ends = [*edges[1:], np.inf]
    for low, high in zip(edges, ends, strict=True):
        start = low * (1 - _ROUNDING)
        yield values < start, (values >= start) & (values < high * (1 - _ROUNDING))


def _usable(observations: Observations, parts: Parts) -> Parts:
    """Those with runs enough below for every form, and any to predict."""

    def enough(fitted: np.ndarray) -> bool:
        sides = (observations.params[fitted], observations.tokens[fitted])
        points = len(np.unique(np.column_stack(sides), axis=0))
        varied = all(len(np.unique(side)) >= FEWEST_VALUES for side in sides)
        return varied and points > COUPLED.parameters + _SPARE

    return [(fitted, seen) for fitted, seen in parts if seen.any() and enough(fitted)]


def _errors(
    form: Form, theta: np.ndarray, rows: Rows, splits: Mapping[str, Parts], delta: float
) -> FormErrors:
    """Root mean square of log(predicted/observed) over the runs predicted, by split."""
    parts = [part for name in splits for part in splits[name]]
    if not parts:
        return FormErrors()
    fitted = np.array([below for below, _ in parts], dtype=float)
    start, deltas = np.repeat(theta[None], len(parts), axis=0), stages(delta)[-3:]
    found = form.solve(rows, start, fitted, deltas, SETTLED_RESAMPLE)
    missed = form.log_loss(found.theta, rows)[0] - np.log(rows.loss)
    errors: dict[str, float | None] = {}
    at = 0
    for name, members in splits.items():
        here = range(at, at + len(members))
        at += len(members)
        seen = [missed[i][members[i - here.start][1]] for i in here]
        settled = bool(found.settled[here.start : here.stop].all())
        whole = settled and len(seen) > 0
        errors[name] = float(np.sqrt(np.mean(np.concatenate(seen) ** 2))) if whole else None
    return FormErrors(**errors)


def _ranked(found: list[FormRow]) -> tuple[FormRow, ...]:
    """Best first by the held-out budget, else by rolling in C; those with neither stay last."""

    def error(row: FormRow) -> float:
        first = row.held_out.top if row.held_out.top is not None else row.held_out.flops
        return np.inf if first is None or row.status == "refused" else first

    ranked = sorted(found, key=error)
    return tuple(
        replace(row, rank=place if np.isfinite(error(row)) else None)
        for place, row in enumerate(ranked, 1)
    )
