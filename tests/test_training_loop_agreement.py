"""The science does not depend on the hardware: ranks and passes change rounding at most."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tiny_training import claimed, prepared_config, together, train_once
from training.config import TrainConfig
from training.loop import train
from training.ranks.distributed import Ranks
from training.trial.metrics import Row, read_metrics
from training.trial.record import RunRecord, publish, read_record

STEPS = 30


def run_of(
    config: TrainConfig, folder: Path, ranks: int, micro_batch: int | None
) -> tuple[RunRecord, list[Row]]:
    """A whole run on so many forked ranks over gloo."""
    config = replace(config, runtime=replace(config.runtime, micro_batch=micro_batch))
    trial = folder / f"ranks{ranks}-passes-of-{micro_batch}"
    if ranks == 1:
        return train_once(config, trial), read_metrics(trial)
    attempt = claimed(trial)

    def body(ranks: Ranks) -> object:
        record = train(config, attempt, ranks, quiet=True)
        return publish(attempt, record) if ranks.is_main else None

    together(config, folder, body, ranks)
    record = read_record(trial)
    assert record is not None and record.world_size == ranks
    return record, read_metrics(trial)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    return prepared_config(tmp_path_factory.mktemp("data"), STEPS)


@pytest.fixture(scope="module")
def alone_30(config, tmp_path_factory) -> tuple[RunRecord, list[Row]]:
    return run_of(config, tmp_path_factory.mktemp("alone"), 1, None)


@pytest.mark.parametrize(("ranks", "micro_batch"), [(2, None), (4, None), (2, 3)])
def test_loop_agrees_in_every_loss_of_thirty_steps(config, alone_30, tmp_path, ranks, micro_batch):
    """Every loss of thirty steps agrees."""
    record, rows = run_of(config, tmp_path, ranks, micro_batch)
    losses = [[row["loss"] for row in its_rows] for its_rows in (rows, alone_30[1])]
    assert len(losses[0]) == STEPS and losses[1][0] - losses[1][-1] > 0.5  # it learnt
    assert losses[0] == pytest.approx(losses[1], rel=0, abs=1e-5)
    assert record.loss == pytest.approx(alone_30[0].loss, rel=0, abs=1e-5)


@pytest.mark.parametrize(("ranks", "micro_batch"), [(1, 1), (1, 3), (4, 1)])
def test_loop_agrees_in_the_held_out_loss_of_the_same_weights(tmp_path, ranks, micro_batch):
    """The held out loss of the same weights is the same."""
    config = prepared_config(tmp_path, 1, optimizer__lr=1e-12)  # the first weights, to rounding
    expected, _ = run_of(config, tmp_path, 1, None)
    record, _ = run_of(config, tmp_path, ranks, micro_batch)
    assert record.loss == pytest.approx(expected.loss, rel=0, abs=1e-6)
