"""What exists before step 0: the state of a new run, or the one that an earlier attempt left."""

from dataclasses import asdict, replace
from pathlib import Path

from common.errors import BadInput
from configs.schema import build
from data.manifest import Manifest, compare
from model.pretrained import Pretrained, read_pretrained
from training.branch import begin_branch, branch_point
from training.config import TrainConfig
from training.dataset import Data, open_data
from training.device.micro_batch import autotune
from training.environment import (
    Environment,
    crowding,
    decide,
    earlier_environment,
    write_environment,
)
from training.ranks.distributed import Ranks
from training.state import TrainState, build_state
from training.trial import checkpoint
from training.trial.attempt import Attempt
from training.trial.identity import comparable, differing_fields, science
from training.trial.logger import MetricsLogger


def set_up(
    config: TrainConfig,
    attempt: Attempt,
    ranks: Ranks,
    logger: MetricsLogger,
    data: Data | None,
    start: Path | None = None,
) -> TrainState:
    """Everything up to the first step of this attempt; BadInput, on all ranks, for bad input.

    `start` is the checkpoint of a trunk, with which a run that has none of its own begins.
    """
    data = data or open_data(config, ranks)
    earlier = ranks.broadcast_from_rank0(
        lambda: (e := earlier_environment(attempt, start)) and asdict(e)
    )
    known = build(Environment, earlier) if earlier else None
    environment = decide(config, ranks, known, logger.note)
    state = build_state(config, ranks, environment, data)
    if crowded := crowding(config, ranks):
        logger.note(crowded)
    place = {"device": environment.device, "world_size": environment.world_size}
    was_here = ranks.broadcast_from_rank0(lambda: bool(earlier) and earlier | place == earlier)
    if not was_here:
        autotune(state, logger.note)
    if ranks.is_main:
        write_environment(attempt, state.environment)
        checkpoint.remove_leftovers(attempt)
    found = _find_checkpoint(state, attempt, logger)
    if found is not None:
        state.restore(found)
        logger.note(f"resumed at step {state.step} from {found.path}")
        if changes := state.environment.changes_since(found.meta.environment):
            logger.note(f"not bitwise reproducible: {', '.join(changes)}")
    elif start is not None and (trunk := branch_point(state, start, logger)):
        begin_branch(state, trunk, logger)
    elif config.init_from is not None:
        initial = ranks.on_all_ranks(lambda: initial_weights(config, data.manifest))
        state.model.load_state_dict(initial.state)
        logger.note(f"began with the weights of {initial.origin}")
        if initial.note:
            logger.note(initial.note)
    return state


def initial_weights(config: TrainConfig, manifest: Manifest) -> Pretrained:
    """The weights of `init_from`; BadInput if there are none, of another shape, or tokenizer."""
    assert config.init_from is not None
    try:
        found = read_pretrained(config.init_from)
    except BadInput as error:
        raise BadInput(f"init_from: {str(error).removeprefix('checkpoint: ')}") from None
    differing = differing_fields(asdict(found.config), asdict(config.model), "model.")
    # Neither is a property of the weights, but of where they came from and how they are used.
    ours = ("model.init_std", "model.residual")
    differing = [text for text in differing if not text.startswith(ours)]
    if differing:
        raise BadInput(f"init_from: {found.origin}: another model: {'; '.join(differing)}")
    if difference := found.own.differs_from(manifest.tokenizer, manifest.tokenizer_sha256):
        raise BadInput(f"init_from: {found.origin}: {difference}")
    if found.tokenizer == "bpe" and found.own.sha256 is None:
        note = f"{found.origin} has no digest of its tokenizer: that of the data is assumed"
        return replace(found, notes=(*found.notes, note))
    return found


def _find_checkpoint(
    state: TrainState, attempt: Attempt, logger: MetricsLogger
) -> checkpoint.Checkpoint | None:
    """The newest readable checkpoint, if it continues this very trial on this very data."""
    found: list[checkpoint.Checkpoint] = []

    def find() -> str | None:
        newest = checkpoint.newest(attempt.trial, logger.note)
        if newest is None:
            return None
        asked = comparable(science(state.config))
        if fields := differing_fields(comparable(newest.meta.config), asked):
            text = f"{newest.path}: of another trial: {'; '.join(fields)}; use another out"
            raise BadInput(text)
        if difference := compare(build(Manifest, newest.meta.data), state.data.manifest):
            raise BadInput(f"{newest.path}: {difference}")
        found.append(newest)
        return str(newest.path)

    path = state.ranks.broadcast_from_rank0(find)
    if path is None:
        return None
    return state.ranks.on_all_ranks(lambda: found[0] if found else checkpoint.read(Path(path)))
