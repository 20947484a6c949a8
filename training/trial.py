"""A trial's folder as one command finds it: finished, somebody else's, another trial's, or free."""

from pathlib import Path
from typing import Any

import yaml

from configs.errors import BadInput
from configs.files import write_once
from configs.load import build, compose_config
from training.attempt import Attempt, Busy, Finished, Watch, claim_patiently
from training.config import TrainConfig, as_mapping, differing_fields, science, trial_id
from training.record import RETRIABLE, RunRecord, read_record, set_aside

NAME = "config.yaml"


def write_config(trial: Path, config: TrainConfig) -> None:
    """Write config.yaml, complete, unless it is there; BadInput if the one there differs.

    `train.py --config-dir TRIAL --config-name config` runs it again elsewhere.
    """
    try:
        if write_once(trial / NAME, yaml.safe_dump(as_mapping(config), sort_keys=False)):
            return
    except OSError as error:
        raise _not_writable(trial, error) from error
    require_same_config(trial, config)


def require_same_config(trial: Path, config: TrainConfig) -> None:
    """BadInput, with the fields, if config.yaml is of another trial."""
    there = science(read_config(trial))
    if fields := differing_fields(there, science(config)):
        raise BadInput(f"out: {trial} holds another trial: {'; '.join(fields)}; use another out")


def read_config(trial: Path) -> TrainConfig:
    """The trial of a folder, by its config.yaml."""
    values: dict[str, Any] = compose_config(Path(NAME).stem, config_dir=trial.absolute())
    return build(TrainConfig, values)


def finished(trial: Path, config: TrainConfig) -> RunRecord | None:
    """The record, if there is nothing left to do; BadInput if it is of another trial.

    What ran out of memory or failed may be tried again, with another `runtime` say.
    """
    try:
        if (trial / "plan.json").exists() or (trial / "trials").exists():
            raise BadInput(f"out: {trial} holds a sweep; choose another out for a single run")
        if trial.exists() and not trial.is_dir():
            raise BadInput(f"out: {trial}: found a file, expected a folder")
    except OSError as error:  # a name too long, or forbidden
        raise _not_writable(trial, error) from None
    record = _own_record(trial, config)
    return None if record is None or record.status in RETRIABLE else record


def _own_record(trial: Path, config: TrainConfig) -> RunRecord | None:
    record = read_record(trial)
    if record is not None and record.id != trial_id(config):
        if (trial / NAME).exists():
            require_same_config(trial, config)
        raise BadInput(f"out: {trial} holds the record of trial {record.id}; use another out")
    return record


def take(trial: Path, config: TrainConfig) -> Attempt:
    """Claim the trial for this process; the record of a failure is set aside for it.

    BadInput if another process trains it, after waiting for a sign of life from one elsewhere.
    """
    write_config(trial, config)
    try:
        failure = _own_record(trial, config)
        if failure is not None and failure.status in RETRIABLE:
            set_aside(trial, failure)
        result = claim_patiently(trial, Watch())
    except OSError as error:
        raise _not_writable(trial, error) from error
    if isinstance(result, Busy):
        raise BadInput(
            f"out: {trial} is being trained by {result.owner}; wait, stop it, or use another out"
        )
    if isinstance(result, Finished):
        raise BadInput(f"out: {trial} has just been finished by another process")
    return result


def _not_writable(trial: Path, error: OSError) -> BadInput:
    return BadInput(f"out: {trial}: {error.strerror}; it must be a folder to write in")
