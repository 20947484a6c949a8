"""Fits the laws of the registry that a config asks for, each standing or refused."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaling.fit.config import FitConfig
from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.isoflop import IsoflopFit
from scaling.fit.observations import Observations
from scaling.fit.other_laws import varied
from scaling.fit.parametric import ParametricFit
from scaling.fit.registry import HEADLINE, LAWS
from scaling.fit.results.laws import Headline, IsoflopLaw, Law, ParametricLaw

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadlineFits:
    """Approach 2 and approach 3; None for one that was not asked for."""

    isoflop: IsoflopFit | None = None
    parametric: ParametricFit | None = None

    @property
    def laws(self) -> Mapping[Headline, IsoflopLaw | ParametricLaw]:
        """The laws asked for by name, standing or refused."""
        found: dict[Headline, IsoflopLaw | ParametricLaw] = {}
        if self.isoflop is not None:
            found["isoflop"] = self.isoflop.law
        if self.parametric is not None:
            found["parametric"] = self.parametric.law
        return found

    @property
    def standing(self) -> Mapping[Headline, IsoflopLaw | ParametricLaw]:
        """The laws that have numbers."""
        return {name: law for name, law in self.laws.items() if law.status != "refused"}


def fit_headline(observations: Observations, config: FitConfig, resamples: int) -> HeadlineFits:
    """Fit the headline laws that `config` asks for, with so many resamples."""
    asked = [name for name in HEADLINE if name in config.asked]
    return HeadlineFits(**{name: fit_law(name, observations, config, resamples) for name in asked})


def fit_other_laws(
    observations: Observations,
    config: FitConfig,
    tuned: Observations | None = None,
    traces: Sequence[Trace] = (),
) -> dict[str, Law]:
    """The laws asked for beside the headline and the envelope, in the order of fit.json.

    `tuned` are the runs with those of a sweep's tuning, on which laws with a `column` rest;
    `traces` the training curves.
    """
    found = {}
    for name in config.asked:
        entry = LAWS[name]
        runs = (tuned or observations) if entry.column else observations
        said_nothing = not config.laws and (
            (entry.column and not varied(runs, entry.column))
            or not set(entry.needs) <= set(runs.columns)
        )
        if entry.headline or said_nothing or name == "envelope":
            continue
        data = {"traces": traces} if entry.curves else {}
        found[name] = fit_law(name, runs, config, config.n_bootstrap, **data)
    return found


def fit_law(
    name: str, observations: Observations, config: FitConfig, resamples: int, **data: Any
) -> Any:
    """What the fit function of a law returns."""
    entry = LAWS[name]
    options = {option: getattr(config, option) for option in entry.options}
    _log.info("%s: %s runs, %s bootstrap resamples", entry.label, len(observations), resamples)
    return entry.function(observations, resamples, config.seed, **options, **data)
