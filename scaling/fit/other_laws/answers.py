"""What the laws beside the headline say of a budget, a size, an amount of data, or a pair.

    budget    L(C): the least loss              size   L(N): the loss where data do not limit it
    data      L(D): of the largest size         pair   the learning curve of that size

    loss      B_crit, and what reaches it with the least steps, tokens or compute (batch_answers.py)

Each answer names its form, and the form that BIC does not prefer follows, since far outside the
runs an irreducible loss decides. Of the laws of both variables Kaplan's L(N, D) answers a pair, and
that of over-training all four. A question that no law answers is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scaling.fit.batches.batch_answers import loss_answers, steps_law
from scaling.fit.config import FitConfig, PredictConfig
from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.flags import Flag
from scaling.fit.frontier import Frontier
from scaling.fit.laws import KaplanLaw, PowerLaw
from scaling.fit.numerics import estimate, generator
from scaling.fit.observations import Observations
from scaling.fit.other_laws import kaplan_joint, over_training
from scaling.fit.other_laws.learning_curve import best_runs
from scaling.fit.other_laws.power_law import Form, Powers, fit_powers
from scaling.fit.predict import FittedLaw, answers, over_runs
from scaling.fit.results.document import Answer, Prediction
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.laws import Law
from scaling.fit.results.other_laws import KaplanLaws, LearningCurveLaw

Asked = Literal["params", "tokens", "flops", "pair"]
_SAME = 0.01  # relative difference of two statements of one size
_INSIDE = 1.001
_SYMBOLS = {"params": "N", "tokens": "D", "flops": "C"}
_KAPLAN: Mapping[Asked, str] = {"flops": "L_C", "params": "L_N", "tokens": "L_D"}
_NEEDS: Mapping[str, str] = {
    "flops": "isoflop, parametric, over_training or kaplan L(C)",
    "params": "isoflop, parametric, over_training or kaplan L(N)",
    "tokens": "isoflop, parametric, over_training or kaplan L(D)",
    "pair": "parametric, over_training, kaplan L(N, D), or a learning curve of that size",
    "loss": "critical_batch or size_and_steps",
}


@dataclass(frozen=True)
class _Curve:
    """A law of one variable that stands, with its points."""

    law: str
    variable: Literal["params", "tokens", "flops"]
    x: np.ndarray
    powers: Powers

    def forms(self) -> list[Form]:
        """The preferred form, then the other."""
        pair = [form for form in (self.powers.floor, self.powers.power) if form is not None]
        return sorted(pair, key=lambda form: form is not self.powers.best)


def further_answers(
    laws: Mapping[str, Law],
    observations: Observations,
    config: FitConfig,
    traces: Sequence[Trace],
    of_optima: Sequence[FittedLaw],
) -> list[Answer]:
    """The answers of the laws beside the headline to what `config.predict` asks."""
    found: list[Answer] = []
    for asked, n, d, c in _questions(config):
        value = {"params": n, "tokens": d, "flops": c, "pair": d}.get(asked)
        curve = _curve(asked, n, laws, observations, config) if value is not None else None
        if curve is not None and value is not None:
            found += [_answer(curve, form, asked, (n, d, c), value) for form in curve.forms()]
    ask = config.predict
    law = laws.get("kaplan")
    if ask.pairs and isinstance(law, KaplanLaws) and law.L_ND.status != "refused":
        _, one, many = kaplan_joint.fit_with_samples(observations, config.n_bootstrap, config.seed)
        if one is not None and many is not None:
            best, of_samples = optimum_along_budgets(one), optimum_along_budgets(many)
            frontier = Frontier(*best, *of_samples)
            joint = over_runs("kaplan.L_ND", frontier, observations, one, many)
            found += answers(PredictConfig((), (), (), ask.pairs), observations, [joint])
    found += answers(ask, observations, of_optima)
    return [*found, *loss_answers(laws, config, traces, of_optima)]


def optimum_along_budgets(law: KaplanLaw) -> tuple[PowerLaw, PowerLaw]:
    """N and D of least loss along C = 6 N D, as powers of C."""
    ratio = law.data_power
    n = PowerLaw(law.a * (np.log(ratio / 6) + ratio * law.log_N_c - law.log_D_c), law.a)
    return n, PowerLaw(-np.log(6) - n.log_scale, law.b)


def laws_of_optima(
    laws: Mapping[str, Law],
    observations: Observations,
    config: FitConfig,
    traces: Sequence[Trace],
) -> list[FittedLaw]:
    """The laws beside the headline that say an optimum, where they stand and a question is."""
    ask = config.predict
    if not (ask.flops or ask.params or ask.tokens or ask.pairs or ask.losses):
        return []
    steps = steps_law(laws, observations, config, traces)
    found = over_training_law(laws, observations, config), steps
    return [law for law in found if law is not None]


def over_training_law(
    laws: Mapping[str, Law], observations: Observations, config: FitConfig
) -> FittedLaw | None:
    """The law of over-training as one of optima and losses, where it stands."""
    law = laws.get("over_training")
    if law is None or law.status == "refused":
        return None
    _, one, many = over_training.fit_with_samples(observations, config.n_bootstrap, config.seed)
    if one is None or many is None:
        return None
    surfaces = one.surface, many.surface
    return over_runs("over_training", Frontier.of(*surfaces), observations, *surfaces)


def unanswered(
    config: FitConfig, predicted: tuple[Prediction, ...], given: tuple[Answer, ...]
) -> tuple[Flag, ...]:
    """The flag that names what was asked and has no answer, if anything has none."""
    known: set[tuple[Any, ...]] = {("flops", None, None, row.flops) for row in predicted}
    for row in given:
        n, d, c = row.params.value, row.tokens.value, row.flops.value
        mine = {"params": (n, None, None), "tokens": (None, d, None), "flops": (None, None, c)}
        known.add((row.asked, *mine.get(row.asked, (n, d, None))))
    lost: list[tuple[Any, ...]] = [one for one in _questions(config) if one not in known]
    told = {row.loss.value for row in given if row.asked == "loss"}
    lost += [("loss", None, None, None, loss) for loss in config.predict.losses if loss not in told]
    if not lost:
        return ()
    said = []
    for asked, *values in lost:
        shown = zip(("N", "D", "C", "loss"), values, strict=False)
        what = ", ".join(f"{name} {value:.4g}" for name, value in shown if value is not None)
        said.append(f"{what} (it needs {_NEEDS[asked]})")
    return (Flag("unanswered", f"no law that stands answers predict of {'; '.join(said)}"),)


def _questions(
    config: FitConfig,
) -> Iterator[tuple[Asked, float | None, float | None, float | None]]:
    """(kind, N, D, C) of each question."""
    ask = config.predict
    yield from (("flops", None, None, float(c)) for c in ask.flops)
    yield from (("params", float(n), None, None) for n in ask.params)
    yield from (("tokens", None, float(d), None) for d in ask.tokens)
    yield from (("pair", float(n), float(d), None) for n, d in ask.pairs)


def _curve(
    asked: Asked,
    params: float | None,
    laws: Mapping[str, Law],
    observations: Observations,
    config: FitConfig,
) -> _Curve | None:
    """The law that answers; fitted again with the same draws, since a result keeps no resamples."""
    if asked != "pair":
        key, law = _KAPLAN[asked], laws.get("kaplan")
        part = getattr(law, key) if isinstance(law, KaplanLaws) else None
        if part is None or part.status == "refused":
            return None
        chosen = set(zip(part.runs, part.tokens, strict=True))
        runs = zip(observations.run_id, observations.tokens.tolist(), strict=True)
        points = observations.take(np.array([run in chosen for run in runs]))
        x, purpose, name = getattr(points, asked), f"kaplan.{key}", f"kaplan.{key}"
    else:
        law, asked = laws.get("learning_curve"), "tokens"
        sizes = law.sizes if isinstance(law, LearningCurveLaw) else ()
        near = [
            size.params
            for size in sizes
            if params and size.status != "refused" and abs(size.params / params - 1) < _SAME
        ]
        if not near:
            return None
        points = observations.take(best_runs(observations, near[0]))
        x, name, purpose = points.tokens, "learning_curve", f"learning_curve.{near[0]:.17g}"
    order = np.argsort(x, kind="stable")
    rng = generator(config.seed, purpose)
    powers = fit_powers(x[order], points.loss[order], config.n_bootstrap, rng)
    return _Curve(name, asked, x, powers) if powers.power is not None else None


def _answer(
    curve: _Curve,
    form: Form,
    asked: Asked,
    given: tuple[float | None, float | None, float | None],
    value: float,
) -> Answer:
    low, high = float(curve.x.min()), float(curve.x.max())
    factor, side = max((value / high, "above"), (low / value, "below"))
    flags = []
    symbol = _SYMBOLS[curve.variable]
    if factor > _INSIDE:
        text = f"{factor:.3g} times {side} the {symbol} of the law's runs, {low:.3g} to {high:.3g}"
        flags.append(Flag("extrapolation", text))
    n, d, c = (UNKNOWN if v is None else Estimate(v) for v in given)
    term = f"({symbol}_c/{symbol})^alpha"
    other = "" if form is curve.powers.best else ", not preferred by BIC"
    return Answer(
        asked=asked,
        law=curve.law,
        flops=c,
        params=n,
        n_total=UNKNOWN,
        tokens=d,
        tokens_per_param=UNKNOWN,
        loss=estimate(float(form.predict_loss(value)), form.predict_samples(value)),
        beyond=factor if flags else None,
        flags=tuple(flags),
        form=(f"E + {term}" if form.name == "floor" else term) + other,
    )
