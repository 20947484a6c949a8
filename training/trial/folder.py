"""A trial's folder as one command finds it: finished, somebody else's, another trial's, or free."""

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from common.errors import BadInput, write_remedy
from common.files import read_json, to_json, write_once
from configs.load import compose_config
from configs.schema import build
from data.manifest import Manifest
from training.config import TrainConfig, as_mapping
from training.trial.attempt import (
    Attempt,
    Claimed,
    Finished,
    Watch,
    claim_patiently,
    remove_half_written,
)
from training.trial.identity import at_path, comparable, differing_fields, science, trial_id
from training.trial.record import (
    RETRIABLE,
    DamagedRecord,
    RunRecord,
    read_record,
    set_aside,
    set_damaged_aside,
)

NAME, DATA = "config.yaml", "data.json"


def write_config(trial: Path, config: TrainConfig) -> None:
    """Write config.yaml, complete, unless it is there; BadInput if the one there differs.

    `train.py --config-dir TRIAL --config-name config` runs it again elsewhere.
    """
    try:
        if write_once(trial / NAME, config_text(config)):
            return
    except OSError as error:
        raise _not_writable(trial, error) from error
    require_same_config(trial, config)


def config_text(config: TrainConfig) -> str:
    """The content of config.yaml."""
    return yaml.safe_dump(as_mapping(config), sort_keys=False)


def require_same_config(trial: Path, config: TrainConfig) -> None:
    """BadInput, with the fields, if config.yaml is of another trial, wherever its data lie."""
    there, asked = (comparable(science(c)) for c in (read_config(trial), config))
    if fields := differing_fields(there, asked):
        raise BadInput(f"out: {trial} holds another trial: {'; '.join(fields)}; use another out")


def require_same_data(trial: Path, config: TrainConfig, digest: str | None) -> None:
    """BadInput if the trial is of other data than those of `digest`, wherever these lie.

    Where it is not known on both sides, data.path must lead to the place that it led to before.
    """
    known, before = known_data(trial), read_config(trial).data.path
    if known and digest:
        same, what = known == digest, f"data: found digest {digest}, expected {known}"
    else:
        now = config.data.path
        same, what = _place(now) == _place(before), f"data.path: {before!r}, now {now!r}"
    if not same:
        raise BadInput(f"out: {trial} holds another trial: {what}; use another out")


def with_own_paths(trial: Path, config: TrainConfig) -> TrainConfig:
    """The config by the paths that the trial was first asked for, which its id digests."""
    there = read_config(trial)
    return replace(at_path(config, there.data.path), init_from=there.init_from)


def known_data(trial: Path) -> str | None:
    """The digest of a trial's data; earlier code left it in a record or a checkpoint alone."""
    if (trial / DATA).exists():
        return build(_Data, read_json(trial / DATA), str(trial / DATA)).digest
    with suppress(DamagedRecord):
        record = read_record(trial)
        if record is not None and record.data_digest is not None:  # none in that of a failure
            return record.data_digest
    for path in sorted(trial.glob("attempt-*/checkpoints/step-*/meta.json")):
        with suppress(BadInput, KeyError, TypeError):
            return build(Manifest, read_json(path)["values"]["data"]).digest
    return None


@dataclass(frozen=True)
class _Data:
    """data.json."""

    digest: str


def _place(path: str | None) -> str | None:
    return None if path is None else os.path.realpath(path)


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
    try:
        record = _own_record(trial, config)
    except DamagedRecord:  # as if there were none; `take` says so
        return None
    if record is None or record.status in RETRIABLE:
        return None
    remove_half_written(trial)
    return record


def _own_record(trial: Path, config: TrainConfig) -> RunRecord | None:
    record = read_record(trial)
    if record is not None and record.id != trial_id(config):
        if (trial / NAME).exists():
            require_same_config(trial, config)
            config = with_own_paths(trial, config)
        if record.id != trial_id(config):
            raise BadInput(f"out: {trial} holds the record of trial {record.id}; use another out")
    return record


def take(trial: Path, config: TrainConfig, data_digest: str) -> Attempt:
    """Claim the trial for this process; the record of a failure is set aside for it.

    BadInput if it is of other data, or if another process trains it, after waiting for a sign of
    life from one elsewhere.
    """
    write_config(trial, config)
    require_same_data(trial, config, data_digest)
    try:
        write_once(trial / DATA, to_json(asdict(_Data(data_digest))))
        if damage := set_damaged_aside(trial):
            print(f"warning: {damage}", flush=True)
        failure = _own_record(trial, config)
        if failure is not None and failure.status in RETRIABLE:
            set_aside(trial, failure)
        result = claim_patiently(trial, Watch())
    except OSError as error:
        raise _not_writable(trial, error) from error
    if isinstance(result, Claimed):
        raise BadInput(
            f"out: {trial} is being trained by {result.owner}; wait, stop it, or use another out"
        )
    if isinstance(result, Finished):
        raise BadInput(f"out: {trial} has just been finished by another process")
    return result


def _not_writable(trial: Path, error: OSError) -> BadInput:
    return BadInput(f"out: {trial}: {error.strerror}; {write_remedy(error)}")
