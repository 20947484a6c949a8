"""The laws beside the headline: Kaplan's, learning curves, over-training, hyperparameters."""

from scaling.fit.other_laws.hyperparameters import best_value, fit_batch, fit_learning_rate, varied
from scaling.fit.other_laws.kaplan import fit_kaplan
from scaling.fit.other_laws.learning_curve import fit_learning_curves
from scaling.fit.other_laws.over_training import OverTraining, fit_over_training
from scaling.fit.other_laws.published import kaplan_learning_rate
