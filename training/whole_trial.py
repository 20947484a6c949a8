"""A whole trial by one command and its ranks: claimed, trained, its record published."""

from contextlib import ExitStack
from pathlib import Path

from common.errors import StopRequested, is_disk_full
from configs.schema import build
from training.config import TrainConfig, as_mapping
from training.dataset import digest_if_there, open_data
from training.environment import rank_sequences, require_room
from training.loop import train_and_publish
from training.ranks.distributed import Ranks
from training.ranks.failures import cause, watchdog
from training.set_up import initial_weights
from training.step import StepFunction, begin_step
from training.tracking import Labels, tracked
from training.trial.attempt import Attempt, beating
from training.trial.folder import (
    NAME,
    finished,
    known_data,
    require_same_data,
    take,
    with_own_paths,
)
from training.trial.record import RunRecord, blank_record, publish


def ended_in(config: TrainConfig, out: Path) -> RunRecord | None:
    """The record in `out`, if nothing is left to do; BadInput for another trial or other data."""
    record = finished(out, config)
    if record is not None and (out / NAME).exists():
        require_same_data(out, config, digest_if_there(config, known_data(out)))
    return record


def train_in(
    config: TrainConfig, out: Path, ranks: Ranks, step_function: StepFunction = begin_step
) -> RunRecord:
    """Claim the trial in `out`, train it and publish its record.

    Several ranks leave one of their failure, too, which nobody may be left to tell otherwise.
    """
    ranks.on_all_ranks(lambda: rank_sequences(config, ranks))
    ranks.on_all_ranks(lambda: require_room(config, ranks))
    data = open_data(config, ranks, ranks.broadcast_from_rank0(lambda: known_data(out)))
    if config.init_from is not None:
        # Before anything is written.
        ranks.broadcast_from_rank0(lambda: str(initial_weights(config, data.manifest).origin))
    number = ranks.broadcast_from_rank0(lambda: take(out, config, data.manifest.digest).number)
    # Rank 0 says it: another node need not see the folder.
    own = ranks.broadcast_from_rank0(lambda: as_mapping(with_own_paths(out, config)))
    attempt, config = Attempt(out, number), build(TrainConfig, own)

    def fail(reason: str) -> None:
        publish(attempt, blank_record(config, attempt.number, "failed", reason))

    try:
        with watchdog(attempt, ranks, fail), ExitStack() as main_alone:
            if ranks.is_main:
                main_alone.enter_context(beating(attempt))
                main_alone.enter_context(tracked(attempt, config, Labels()))
            return train_and_publish(config, attempt, ranks, data, step_function=step_function)
    except StopRequested:
        raise
    except Exception as error:
        if is_disk_full(error):  # a passing cause, and no end of the trial
            raise
        if ranks.world_size > 1 and (reason := cause(attempt, ranks)):
            fail(reason)
        raise
