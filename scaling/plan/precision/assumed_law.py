"""The law of loss that a plan assumes before any run, and the noise about it.

It decides no result; it says how wide an interval a grid would give if the law held. By default it
is one that was fitted to the same kind of tokens, moved so that its optimum lies where the grid
expects it: published constants are facts about other corpora and larger compute, and outside of
theirs (Hoffmann's at 1e11 FLOP over bytes) they predict IsoFLOP curves ten times too deep and
intervals ten times too narrow.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.errors import BadInput, require, require_positive
from data.tokenizer import is_byte_vocabulary
from scaling.fit.config import MOST_FLOPS
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.numerics import FEWEST_RESAMPLES
from scaling.fit.results import FitDocument
from scaling.plan.config import CentreConfig
from scaling.plan.plan import Plan

SURFACES = {name: law for name, law in PUBLISHED.items() if isinstance(law, Surface)}

# The surface through the 43 runs of experiment=quickstart (docs/measured.md), bytes of Python code.
QUICKSTART = Surface(E=1.0855, A=57.212, B=75.514, alpha=0.49251, beta=0.37360)

# Nats between two seeds of one run. Over tokens of a larger vocabulary: the middle, in ratio, of
# what is reported, 0.005 to 0.02 (Kaplan et al. 2020 print 0.02).
TOKEN_NOISE = 0.01
# Over bytes: what the quickstart's seeds scatter by, 0.02 at 2.5e10 FLOP and falling, to 0.005.
BYTE_NOISE, BYTE_NOISE_FLOPS, BYTE_NOISE_POWER, BYTE_NOISE_FLOOR = 0.02, 2.5e10, -1 / 4, 0.005


@dataclass(frozen=True)
class Constants:
    """The five constants of a surface, L = E + A N^-alpha + B D^-beta in nats, N effective.

    E      irreducible loss
    A, alpha  of the parameters
    B, beta   of the tokens
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        require_positive("foresight.law", self, "A", "B", "alpha", "beta")
        require(self.E >= 0, "foresight.law.E", self.E, "0 or more")


@dataclass(frozen=True)
class PrecisionConfig:
    """How a plan's precision is simulated (config group `foresight`); part of no trial or plan.

    law           null: the surface fitted in `out`, if it was, else one moved to the grid's
                  centre; the name of a published one, or its five constants: taken as they are
    noise         nats between two seeds; null: by the kind of tokens and the budget
    target_flops  the budget at which N* is predicted; null: ten times the grid's highest
    seed          of the simulations
    simulations   fewer are run of a grid of over a hundred cells, but forty (see `runs`)
    """

    law: str | Constants | None
    noise: float | None
    target_flops: float | None
    simulations: int
    seed: int

    def runs(self, cells: int) -> int:
        """Simulations of a grid of so many cells: a plan is to be had in seconds."""
        return min(self.simulations, max(FEWEST_RESAMPLES, 100 * self.simulations // cells))

    def __post_init__(self) -> None:
        known = not isinstance(self.law, str) or self.law in SURFACES
        names = f"one of {', '.join(SURFACES)}, the constants {{E, A, B, alpha, beta}}, or null"
        require(known, "foresight.law", repr(self.law), names)
        if self.noise is not None:
            require(0 <= self.noise < 1, "foresight.noise", self.noise, "nats, 0 to 1")
        if (target := self.target_flops) is not None:
            limits = f"above 0 and below {MOST_FLOPS:g}"
            require(0 < target < MOST_FLOPS, "foresight.target_flops", f"{target:g}", limits)
        few = FEWEST_RESAMPLES <= self.simulations <= 10_000
        limits = f"{FEWEST_RESAMPLES} to 10000"
        require(few, "foresight.simulations", self.simulations, limits)
        require(self.seed >= 0, "foresight.seed", self.seed, "0 or more")


@dataclass(frozen=True)
class AssumedLaw:
    """A law of loss, where it comes from, and the noise at a budget.

    `guessing` is the loss, nats, of a model that knows nothing: no law holds above it.
    """

    law: Surface
    name: str
    noise: float | None
    over_bytes: bool
    guessing: float = math.inf

    def sd(self, flops: np.ndarray) -> np.ndarray:
        """Standard deviation of a run's loss at budgets `flops`, nats."""
        if self.noise is not None:
            return np.full_like(flops, self.noise)
        if not self.over_bytes:
            return np.full_like(flops, TOKEN_NOISE)
        falling = BYTE_NOISE * (flops / BYTE_NOISE_FLOPS) ** BYTE_NOISE_POWER
        return np.clip(falling, BYTE_NOISE_FLOOR, BYTE_NOISE)


def assume_law(plan: Plan, config: PrecisionConfig, out: Path | None = None) -> AssumedLaw:
    """The law to assume for `plan`; a fit in `out` counts before the grid's own expectation."""
    over_bytes = is_byte_vocabulary(plan.base.model.vocab_size)
    if isinstance(config.law, str):
        law, name = SURFACES[config.law], config.law
    elif config.law is not None:
        law, name = Surface(**vars(config.law)), "the constants given"
    elif out is not None and (fitted := fitted_surface(out)) is not None:
        law, name = fitted, f"the surface fitted in {out}"
    else:
        name = "quickstart" if over_bytes else "besiroglu"
        like = QUICKSTART if over_bytes else SURFACES[name]
        law = centred(like, plan.corrected_grid.centre)
        name = f"{name}'s surface moved to the grid's centre"
    guessing = math.log(plan.base.model.vocab_size)
    return AssumedLaw(law, name, config.noise, over_bytes, guessing)


def centred(law: Surface, centre: CentreConfig) -> Surface:
    """`law` with its optimum moved to where the grid expects it, at every budget.

    What decides an interval stays: the least loss still falls by s = alpha A N*^-alpha nats an
    e-fold of compute at the centre's budget, the sum of the exponents is the same, and so is the
    curvature of the IsoFLOP curve there, s (alpha + beta). A centre's exponent of 1 or more has no
    surface; it is taken as 0.95.
    """
    a, total = min(centre.exponent, 0.95), law.alpha + law.beta
    alpha, beta = (1 - a) * total, a * total
    falls = law.alpha * law.A * law.optimal_allocation(centre.flops)[0] ** -law.alpha
    n = centre.n_effective(centre.flops)
    d = centre.flops / (6 * n)
    return replace(
        law, A=falls / alpha * n**alpha, B=falls / beta * d**beta, alpha=alpha, beta=beta
    )


def fitted_surface(out: Path) -> Surface | None:
    """The surface in the fit.json of a sweep directory; None where it has none of this form."""
    path = out / "fit" / "fit.json"
    if not path.exists():
        return None
    try:
        law = FitDocument.read(path).parametric
    except BadInput:
        return None
    if law is None or law.form is not None:
        return None
    constants = [getattr(law, name).value for name in ("E", "A", "B", "alpha", "beta")]
    return None if None in constants else Surface(*constants)
