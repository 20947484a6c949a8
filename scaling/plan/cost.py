"""What trials cost: exact FLOP, seconds by a step-time model, and the time of a whole grid.

Seconds come from steps measured where the trials will run, or from the stated throughput of another
machine. The measured model is four terms a step: a price a layer (dispatch), a price an
activation (memory), a price a FLOP (arithmetic) and a price a token. On small CPU models the first
two decide, so that time is not proportional to FLOP and has to be modelled to plan a grid.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.config import GPTConfig
from model.flops import flops_per_token_exact
from training.config import TrainConfig
from training.device.stated import StatedThroughput

_COEFFICIENTS = ("per_layer_ms", "per_activation_ms", "per_flop_ms", "per_token_ms")
# Fewer measurements than this rescale a known model; as many or more fit its coefficients anew.
_ENOUGH_TO_REFIT = 2 * len(_COEFFICIENTS)
# An unknown model is fitted from so many on.
LEAST_TO_FIT = len(_COEFFICIENTS) + 2
_TURNS = 20  # by which the multiples of recipes settle to far below their error


@dataclass(frozen=True)
class StepTime:
    """Milliseconds of a step: per_layer L + per_activation B L d + per_flop B f + per_token B.

    B is tokens a step, f exact training FLOP a token. `fixed_s` is spent once a trial (start, data,
    record); `error` is the relative standard deviation of a prediction. `recipes` are the multiples
    of the recipes (`recipe_of`) that were measured, where there were several: that of the first is
    1, and one that was not measured is taken for it.
    """

    per_layer_ms: float
    per_activation_ms: float
    per_flop_ms: float
    per_token_ms: float
    fixed_s: float
    error: float
    recipes: tuple[tuple[str, float], ...] = ()

    def step_s(self, model: GPTConfig, batch_tokens: int, recipe: str = "") -> float:
        """Seconds of one optimizer step."""
        terms = _terms(model, batch_tokens)
        first = float(np.dot([getattr(self, name) for name in _COEFFICIENTS], terms)) / 1000
        return first * dict(self.recipes).get(recipe, 1.0)

    def trial_s(self, config: TrainConfig) -> float:
        """Seconds of a trial, its final evaluation included.

        Evaluation is a forward pass, a third of a training token's work.
        """
        steps, batch = config.schedule.steps, config.schedule.batch_tokens
        forward_steps = config.evaluation.tokens / batch / 3
        step_s = self.step_s(config.model, batch, recipe_of(config))
        return self.fixed_s + (steps + forward_steps) * step_s


TimeModel = StatedThroughput | StepTime


@dataclass(frozen=True)
class Measured:
    """Seconds of one optimizer step, as measured on the machine that will run the trials."""

    model: GPTConfig
    batch_tokens: int
    step_s: float
    recipe: str = ""


# Fitted to 38 runs of two to four layers, d = 8 to 96, B = 128 to 2048 bytes, float32, one thread
# of a two-core x86 machine with the other core busy (torch 2.13); residual 6%, at worst 12%, and
# 20 to 40% low below B = 256. `error` is what repeats on that shared machine scattered by; another
# machine is another model, so measure.
CPU_REFERENCE = StepTime(
    per_layer_ms=1.9,
    per_activation_ms=1.15e-4,
    per_flop_ms=8.2e-9,
    per_token_ms=3.8e-3,
    fixed_s=0.0,
    error=0.3,
)


def calibrate(measured: Sequence[Measured], known: StepTime | None) -> StepTime:
    """The step-time model of the machine on which `measured` was taken.

    A few measurements multiply `known` by their mean ratio to it; eight or more fit all four
    coefficients, none negative, by relative least squares. The error is the scatter about that, in
    the first case pooled with the known error as if that were one more measurement. Without a known
    model (a GPU) `least_to_fit` are needed: ValueError. Each recipe beside the first has one
    multiple for all its shapes.
    """
    least = least_to_fit(m.recipe for m in measured)
    if known is None and len(measured) < least:
        raise ValueError(f"found {len(measured)} measurements, expected {least} or more")
    if not measured:
        assert known
        return known
    # In turns: the model of all as if of one recipe, and what each recipe is a multiple by.
    multiples = dict.fromkeys((m.recipe for m in measured), 1.0)
    own = {one: [m for m in measured if m.recipe == one] for one in multiples}
    for _ in range(_TURNS if len(multiples) > 1 else 1):
        alike = [replace(m, step_s=m.step_s / multiples[m.recipe]) for m in measured]
        found = _of_one_recipe(alike, known, len(multiples) - 1)
        means = {one: math.exp(_log_ratios(some, found).mean()) for one, some in own.items()}
        first = means[measured[0].recipe]
        multiples = {one: mean / first for one, mean in means.items()}
    return replace(found, recipes=tuple(multiples.items()) if len(multiples) > 1 else ())


def _of_one_recipe(
    measured: Sequence[Measured], known: StepTime | None, other_recipes: int
) -> StepTime:
    """The model of measurements that their recipes' multiples, so many, have made alike."""
    if known is None or len(measured) >= _ENOUGH_TO_REFIT + other_recipes:
        return _refit(measured, known.fixed_s if known else 0.0, other_recipes)
    ratios = _log_ratios(measured, known)
    squares = float(np.square(ratios - ratios.mean()).sum())
    scaled = {n: math.exp(ratios.mean()) * getattr(known, n) for n in _COEFFICIENTS}
    known_of = max(1, len(measured) - other_recipes)
    return replace(known, **scaled, error=math.sqrt((squares + known.error**2) / known_of))


def least_to_fit(recipes: Iterable[str]) -> int:
    """How many measurements of these recipes an unknown model takes."""
    return LEAST_TO_FIT + max(0, len(set(recipes)) - 1)


def _log_ratios(measured: Sequence[Measured], model: StepTime) -> np.ndarray:
    """Log of measured seconds over those of a model, (n,)."""
    return np.log([m.step_s / model.step_s(m.model, m.batch_tokens) for m in measured])


def recipe_of(config: TrainConfig) -> str:
    """What makes steps of one shape take different times."""
    model, optimizer = config.model, config.optimizer.name
    return f"{model.family} with {optimizer} in {config.precision}, residual {model.residual}"


def makespan_s(seconds: Iterable[float], parallel: int) -> float:
    """Time until the last trial ends with `parallel` at a time, the longest first.

    Between sum / parallel and that plus the longest; within 4/3 of the best order (Graham 1969).
    """
    busy_until = [0.0] * parallel
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(busy_until, busy_until[0] + duration)
    return max(busy_until)


def flops_exact(config: TrainConfig) -> int:
    """Training FLOP of a trial: `flops_per_token_exact` times the tokens it sees."""
    return flops_per_token_exact(config.model) * config.schedule.tokens_planned


def _terms(model: GPTConfig, batch_tokens: int) -> list[float]:
    """What the coefficients multiply: L, B L d, B f, B."""
    activations = batch_tokens * model.n_layer * model.n_embd
    arithmetic = batch_tokens * flops_per_token_exact(model)
    return [model.n_layer, activations, arithmetic, batch_tokens]


def _refit(measured: Sequence[Measured], fixed_s: float, other_recipes: int) -> StepTime:
    from scipy.optimize import nnls  # here: a third of a second that only a measurement needs

    terms = np.array([_terms(m.model, m.batch_tokens) for m in measured], dtype=float)
    seconds = np.array([m.step_s for m in measured])
    # Each row divided by its measurement: a relative error counts alike at 2 ms and at 2 s. Each
    # column scaled to one, since the coefficients differ by eight orders of magnitude.
    rows = terms / (1000 * seconds[:, None])
    scale = np.maximum(np.abs(rows).max(axis=0), np.finfo(float).tiny)
    solution, residual = nnls(rows / scale, np.ones(len(measured)))
    error = residual / math.sqrt(max(1, len(measured) - len(_COEFFICIENTS) - other_recipes))
    fitted = dict(zip(_COEFFICIENTS, (solution / scale).tolist(), strict=True))
    return StepTime(**fitted, fixed_s=fixed_s, error=float(error))
