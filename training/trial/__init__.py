"""A trial's folder: who trains it, and what a run leaves in it. Torch-free but for checkpoints."""

from training.trial.attempt import Attempt, claim
from training.trial.record import RunRecord, read_record

__all__ = ["Attempt", "RunRecord", "claim", "read_record"]
