"""The headline laws of a set of observations, each fitted or refused."""

from dataclasses import dataclass

from scaling.fit.config import FitConfig
from scaling.fit.isoflop import IsoflopFit, fit_isoflop
from scaling.fit.laws import LawFit
from scaling.fit.observations import Observations
from scaling.fit.parametric import ParametricFit, fit_parametric


@dataclass(frozen=True)
class HeadlineFits:
    """Approach 2 and approach 3; None for one that was not asked for."""

    isoflop: IsoflopFit | None
    parametric: ParametricFit | None

    @property
    def laws(self) -> list[LawFit]:
        """The laws asked for, standing or refused."""
        return [part.law for part in (self.isoflop, self.parametric) if part is not None]

    @property
    def standing(self) -> list[LawFit]:
        """The laws that have numbers."""
        return [law for law in self.laws if law.status != "refused"]


def fit_headline(observations: Observations, config: FitConfig, resamples: int) -> HeadlineFits:
    """Fit the laws that `config` asks for, with so many resamples."""
    isoflop = parametric = None
    if "isoflop" in config.asked:
        isoflop = fit_isoflop(observations, resamples, config.seed, config.budget_tolerance)
    if "parametric" in config.asked:
        parametric = fit_parametric(
            observations, resamples, config.seed, config.delta, config.objective
        )
    return HeadlineFits(isoflop, parametric)
