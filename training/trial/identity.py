"""What a trial is named by: everything in its config that decides the weights; torch-free."""

import os
from dataclasses import replace
from typing import Any

from common.files import digest
from training.config import TrainConfig, as_mapping


def science(config: TrainConfig) -> dict[str, Any]:
    """A trial's mapping without `runtime` and `data.verify`: what its id digests.

    What a schedule does not have, no weights to begin with, and what is GPT-2's in a model go
    without saying, so that no id changes when a config gains a field.
    """
    values = as_mapping(config)
    del values["runtime"], values["data"]["verify"]
    if not config.data.skip_invalid:
        del values["data"]["skip_invalid"]
    if config.data.unique_tokens is None:
        del values["data"]["unique_tokens"]
    for name in config.model.unsaid:
        del values["model"][name]
    if config.init_from is None:
        del values["init_from"]
    values["schedule"] = {k: v for k, v in values["schedule"].items() if v is not None}
    return values


def comparable(science: dict[str, Any]) -> dict[str, Any]:
    """What two descriptions (`science`) of one trial agree in: a path's spelling is no part of it.

    Nor is the place of the text, which is one of many for the same bytes: whether the data are the
    same is told by their digest.
    """
    found = {**science, "data": {**science["data"], "path": None}}
    if (weights := found.get("init_from")) is not None and os.path.exists(weights):
        found["init_from"] = os.path.realpath(weights)
    return found


def at_path(config: TrainConfig, path: str | None) -> TrainConfig:
    """The config with its text at another place."""
    return replace(config, data=replace(config.data, path=path))


def differing_fields(before: dict[str, Any], now: dict[str, Any], where: str = "") -> list[str]:
    """One text per field in which two mappings differ: `schedule.tokens: 768, now 1024`."""
    found = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differing_fields(old, new, f"{where}{key}.")
        elif old != new:
            found.append(f"{where}{key}: {old!r}, now {new!r}")
    return found


def trial_id(config: TrainConfig) -> str:
    """The name of a trial: a digest of everything in it but `runtime`."""
    return digest(science(config))


def setting(config: TrainConfig) -> dict[str, Any]:
    """What all trials of one sweep share: data, tokenizer, evaluation and model family.

    How much of the training text a run sees is its own.
    """
    return {
        "data": {k: v for k, v in science(config)["data"].items() if k != "unique_tokens"},
        "evaluation": as_mapping(config.evaluation),
        "block_size": config.model.block_size,
        "vocab_size": config.model.vocab_size,
    }


def setting_digest(config: TrainConfig) -> str:
    """The name of a setting in plan.json."""
    return digest(setting(config))


def first_difference(old: TrainConfig, new: TrainConfig) -> tuple[str, Any, Any]:
    """The first field, by its dotted name, in which the settings of two trials differ."""
    for group in ("data", "evaluation", "model"):
        before, after = science(old)[group], science(new)[group]
        shared = ("block_size", "vocab_size") if group == "model" else tuple(before)
        for name in shared:
            if name != "unique_tokens" and before[name] != after[name]:
                return f"{group}.{name}", before[name], after[name]
    return "setting", "another digest", "this one"
