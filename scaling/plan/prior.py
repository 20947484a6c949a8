"""What is believed of the losses before any run: a law, and the noise about it.

A prior decides no result; it says how wide an interval a grid would give if the prior held. The
law by default is one that was fitted to the same kind of tokens, moved so that its optimum lies
where the grid expects it: published constants are facts about other corpora and larger compute,
and outside of theirs (Hoffmann's at 1e11 FLOP over bytes) they foretell valleys ten times too deep
and intervals ten times too narrow.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from configs.errors import BadInput, require_positive
from configs.files import read_json
from scaling.fit.config import MOST_FLOPS
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.uncertainty import FEWEST_RESAMPLES
from scaling.plan.config import CentreConfig
from scaling.plan.grid import Plan

SURFACES = {name: law for name, law in PUBLISHED.items() if isinstance(law, Surface)}

# The surface through the 43 runs of experiment=quickstart (docs/measured.md), bytes of Python code.
QUICKSTART = Surface(E=1.0855, A=57.212, B=75.514, alpha=0.49251, beta=0.37360)
BYTES = 256  # vocabularies up to this size are read as bytes

# Nats between two seeds of one run. Over tokens of a larger vocabulary: the middle, in ratio, of
# what is reported, 0.005 to 0.02 (Kaplan et al. 2020 print 0.02).
TOKEN_NOISE = 0.01
# Over bytes: what the quickstart's seeds scatter by, 0.02 at 2.5e10 FLOP and falling, to 0.005.
BYTE_NOISE, BYTE_NOISE_FLOPS, BYTE_NOISE_POWER, BYTE_NOISE_FLOOR = 0.02, 2.5e10, -1 / 4, 0.005


@dataclass(frozen=True)
class Constants:
    """The five constants of a surface, L = E + A N^-alpha + B D^-beta in nats, N effective."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        require_positive("foresight.law", self, "A", "B", "alpha", "beta")
        if self.E < 0:
            raise BadInput(f"foresight.law.E: found {self.E}, expected 0 or more")


@dataclass(frozen=True)
class ForesightConfig:
    """What a plan's precision is foreseen with; part of no trial and of no plan.

    law           null: the surface fitted in `out`, if it stands, else one moved to the grid's
                  centre; the name of a published one, or its five constants: taken as they are
    noise         nats between two seeds; null: by the kind of tokens and the budget
    target_flops  the budget at which N* is foreseen; null: ten times the grid's highest
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
        if isinstance(self.law, str) and self.law not in SURFACES:
            raise BadInput(
                f"foresight.law: found {self.law!r}, expected one of {', '.join(SURFACES)}, the "
                "constants {E, A, B, alpha, beta}, or null"
            )
        if self.noise is not None and not 0 <= self.noise < 1:
            raise BadInput(f"foresight.noise: found {self.noise}, expected nats, 0 to 1")
        if self.target_flops is not None and not 0 < self.target_flops < MOST_FLOPS:
            raise BadInput(
                f"foresight.target_flops: found {self.target_flops:g}, expected above 0 and below "
                f"{MOST_FLOPS:g}"
            )
        if not FEWEST_RESAMPLES <= self.simulations <= 10_000:
            raise BadInput(
                f"foresight.simulations: found {self.simulations}, expected {FEWEST_RESAMPLES} to "
                "10000"
            )
        if self.seed < 0:
            raise BadInput(f"foresight.seed: found {self.seed}, expected 0 or more")


@dataclass(frozen=True)
class Prior:
    """A law of loss, where it comes from, and the noise at a budget."""

    law: Surface
    name: str
    noise: float | None
    over_bytes: bool

    def sd(self, flops: np.ndarray) -> np.ndarray:
        """Standard deviation of a run's loss at budgets `flops`, nats."""
        if self.noise is not None:
            return np.full_like(flops, self.noise)
        if not self.over_bytes:
            return np.full_like(flops, TOKEN_NOISE)
        falling = BYTE_NOISE * (flops / BYTE_NOISE_FLOPS) ** BYTE_NOISE_POWER
        return np.clip(falling, BYTE_NOISE_FLOOR, BYTE_NOISE)


def prior_of(plan: Plan, config: ForesightConfig, out: Path | None = None) -> Prior:
    """The prior for `plan`; a fit that is in `out` counts before the grid's own expectation."""
    over_bytes = plan.base.model.vocab_size <= BYTES

    def prior(law: Surface, name: str) -> Prior:
        return Prior(law, name, config.noise, over_bytes)

    if isinstance(config.law, str):
        return prior(SURFACES[config.law], config.law)
    if isinstance(config.law, Constants):
        law = config.law
        return prior(Surface(law.E, law.A, law.B, law.alpha, law.beta), "the constants given")
    if out is not None and (fitted := fitted_surface(out)) is not None:
        return prior(fitted, f"the surface fitted in {out}")
    like, name = (QUICKSTART, "quickstart") if over_bytes else (SURFACES["besiroglu"], "besiroglu")
    return prior(
        centred(like, plan.learned.applied(plan.grid).centre),
        f"{name}'s surface, moved to the grid's centre",
    )


def centred(law: Surface, centre: CentreConfig) -> Surface:
    """`law` with its optimum moved to where the grid expects it, at every budget.

    What decides an interval stays: the least loss still falls by s = alpha A N*^-alpha nats an
    e-fold of compute at the centre's budget, the sum of the exponents is the same, and so is the
    curvature of the valley there, s (alpha + beta). An exponent of the centre of 1 or more has no
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
    """The surface in the fit.json of a sweep directory; None where none stands there."""
    path = out / "fit" / "fit.json"
    if not path.exists():
        return None
    try:
        law = read_json(path)["laws"]["parametric"]
        return Surface(*(float(law[name]["value"]) for name in ("E", "A", "B", "alpha", "beta")))
    except (BadInput, KeyError, TypeError, ValueError):  # refused, or a fit without this law
        return None
