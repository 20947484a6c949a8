"""What the laws of batches and steps say: the critical batch and the least steps to a loss.

loss      critical_batch: B_crit, and of each size whose curves pass through that loss the
          least steps and tokens; size_and_steps: the size of least compute, with all of them
others    size_and_steps is a law of optima, whose C is C_min and whose D is E_min: what a batch
          far below the critical one costs
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scaling.fit.batches import critical_batch, size_and_steps
from scaling.fit.batches.steps_law import StepsLaw
from scaling.fit.config import FitConfig
from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.flags import Flag
from scaling.fit.numerics import Sampled
from scaling.fit.observations import Observations
from scaling.fit.other_laws.published import critical_batch as _critical
from scaling.fit.predict import FittedLaw
from scaling.fit.results.critical_batch import SizeAndStepsLaw
from scaling.fit.results.document import Answer
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.laws import Law

_INSIDE = 1.001


def steps_law(
    laws: Mapping[str, Law],
    observations: Observations,
    config: FitConfig,
    traces: Sequence[Trace],
) -> FittedLaw | None:
    """The law of size and least steps as one of optima and losses, where it stands."""
    law = laws.get("size_and_steps")
    if not isinstance(law, SizeAndStepsLaw) or law.status == "refused":
        return None
    _, one, many = size_and_steps.fit_with_samples(
        observations, config.n_bootstrap, config.seed, config.critical_batch, traces
    )
    if one is None or many is None:
        return None
    spent = [
        6 * curve.params * np.array(curve.S_min) * _critical(np.array(curve.losses), one)
        for curve in law.curves
    ]
    low, high = float(min(map(np.min, spent))), float(max(map(np.max, spent)))
    frontier = size_and_steps.frontier_of(one, many)
    return FittedLaw("size_and_steps", frontier, low, high, one, many)


def loss_answers(
    laws: Mapping[str, Law],
    config: FitConfig,
    traces: Sequence[Trace],
    of_optima: Sequence[FittedLaw],
) -> list[Answer]:
    """What reaches each loss that `config.predict` asks for."""
    found: list[Answer] = []
    asked = config.predict.losses
    law = laws.get("critical_batch")
    if asked and law is not None and law.status != "refused":
        fit = critical_batch.fit_all_losses(traces, config.n_bootstrap, config.seed)
        assert not isinstance(fit, str)  # as the law stands
        measured = float(fit.points.loss.min()), float(fit.points.loss.max())
        for loss in asked:
            batch = _exp(fit.log_at(loss))
            found.append(_answer("critical_batch", loss, measured, batch=batch.estimate))
            for level in fit.levels_at(loss, traces, config.n_bootstrap, config.seed):
                found.append(
                    _answer(
                        "critical_batch",
                        loss,
                        measured,
                        params=Estimate(level.params),
                        tokens=level.E_min,
                        steps=level.S_min,
                        batch=level.B_crit,
                    )
                )
    for one in of_optima:
        if isinstance(one.surface, StepsLaw) and isinstance(one.surfaces, StepsLaw):
            found += [_least_compute(one, one.surface, one.surfaces, loss) for loss in asked]
    return found


def _least_compute(law: FittedLaw, one: StepsLaw, many: StepsLaw, loss: float) -> Answer:
    """The model, data, steps and batch of the least compute that reaches a loss."""
    flops = _exp(Sampled(one.log_least_flops(loss), many.log_least_flops(loss)))
    n, d = law.frontier.at(flops)
    with np.errstate(all="ignore"):
        steps = Sampled(one.s_opt.at(flops.value), many.s_opt.at(flops.samples))
        batch = Sampled(*(_critical(loss, of) for of in (one, many)))
    beyond, flags = law.extrapolation(flops.value)
    found = _answer(law.name, loss, None, n.estimate, d.estimate, steps.estimate, batch.estimate)
    ratio = d.over(n).estimate
    return replace(
        found, flops=flops.estimate, tokens_per_param=ratio, beyond=beyond, flags=tuple(flags)
    )


def _answer(
    law: str,
    loss: float,
    measured: tuple[float, float] | None,
    params: Estimate = UNKNOWN,
    tokens: Estimate = UNKNOWN,
    steps: Estimate = UNKNOWN,
    batch: Estimate = UNKNOWN,
) -> Answer:
    """One row; outside the losses `measured` it says how far."""
    factor, flags = 1.0, []
    if measured is not None:
        low, high = measured
        factor, side = max((loss / high, "above"), (low / loss, "below"))
        if factor > _INSIDE:
            text = f"{factor:.3g} times {side} the losses of the law, {low:.4g} to {high:.4g}"
            flags.append(Flag("extrapolation", text))
    return Answer(
        asked="loss",
        law=law,
        flops=UNKNOWN,
        params=params,
        n_total=UNKNOWN,
        tokens=tokens,
        tokens_per_param=UNKNOWN,
        loss=Estimate(loss),
        beyond=factor if flags else None,
        flags=tuple(flags),
        steps=steps,
        batch=batch,
    )


def _exp(log: Sampled) -> Sampled:
    with np.errstate(over="ignore"):
        return Sampled(float(np.exp(log.value)), np.exp(log.samples))
