"""Shared trunks: runs of a constant rate that differ in their horizon are one until they cool down.

Haegele et al. 2024 (arXiv 2405.18392): with a constant rate and a cool-down at the end, what a run
does before its cool-down does not depend on where it ends. So of such runs the longest, the trunk,
is trained as ever, and each other one, a branch, begins with the trunk's state after the last
update before its own cool-down. Bit for bit it is the run that it would have been alone; sharing
changes cost, not science, and no trial's id knows of it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from model.flops import flops_per_token_exact
from training.config import TrainConfig
from training.schedule import shared_steps, warmup_steps
from training.trial.identity import science


@dataclass(frozen=True)
class Branch:
    """Where a run begins: with the state of another, by its id, after so many updates."""

    trunk: str
    step: int


def branches_of(trials: Iterable[tuple[str, TrainConfig]]) -> dict[str, Branch]:
    """The branches among trials, each an id and its config, by id.

    A pure function of the trials: every worker finds the same. Runs whose warm-up is cut short by
    their end, or whose cool-down begins at once, share nothing.
    """
    groups: dict[str, list[tuple[str, TrainConfig]]] = {}
    for name, config in trials:
        if config.schedule.name != "cosine":
            groups.setdefault(_trunk_key(config), []).append((name, config))
    found = {}
    for group in groups.values():
        group.sort(key=lambda item: (-item[1].schedule.steps, -item[1].schedule.tokens, item[0]))
        (trunk, longest), *others = group
        warmup = warmup_steps(longest.schedule)
        for name, config in others:
            step = shared_steps(config.schedule)
            if step and warmup_steps(config.schedule) == warmup:
                found[name] = Branch(trunk, step)
    return found


def flops_spent(config: TrainConfig, branch: Branch | None) -> int:
    """Training FLOP that a run takes itself, beside those of the trunk that it began with."""
    steps = config.schedule.steps - (branch.step if branch else 0)
    return flops_per_token_exact(config.model) * steps * config.schedule.batch_tokens


def kept_steps(branches: Mapping[str, Branch], trunk: str) -> tuple[int, ...]:
    """The steps at which branches begin with a trunk."""
    return tuple(sorted({branch.step for branch in branches.values() if branch.trunk == trunk}))


def _trunk_key(config: TrainConfig) -> str:
    """All that runs of one trunk have in common."""
    values = science(config)
    del values["schedule"]["tokens"]
    return json.dumps(values, sort_keys=True)
