"""The laws beside the headline: which of them a table gets, and each fitted or refused."""

from scaling.fit.config import FitConfig
from scaling.fit.hyperparameters import fit_batch, fit_learning_rate, varied
from scaling.fit.kaplan import fit_kaplan
from scaling.fit.laws import LawFit
from scaling.fit.learning_curve import fit_learning_curves
from scaling.fit.observations import Observations
from scaling.fit.over_training import fit_over_training

# Laws that a table gets unasked only where runs of one (N, D) vary the column.
_COLUMNS = {"lr": "lr", "batch": "batch_tokens"}


def fit_further(
    observations: Observations, config: FitConfig, tuned: Observations | None = None
) -> list[LawFit]:
    """The laws asked for beside the headline ones, in the order of fit.json.

    `tuned` are the runs with those of a sweep's tuning, which the laws `lr` and `batch` rest on.
    """
    tuned = tuned or observations
    resamples, seed = config.n_bootstrap, config.seed
    found = []
    for name in config.asked:
        column = _COLUMNS.get(name)
        unasked = config.laws is None
        if unasked and column is not None and not varied(tuned, column):
            continue
        if name == "kaplan":
            found.append(fit_kaplan(observations, resamples, seed, config.budget_tolerance))
        elif name == "over_training":
            found.append(fit_over_training(observations, resamples, seed)[0])
        elif name == "learning_curve":
            found.append(fit_learning_curves(observations, resamples, seed))
        elif name == "lr":
            found.append(fit_learning_rate(tuned, resamples, seed))
        elif name == "batch":
            found.append(fit_batch(tuned, resamples, seed))
    return found
