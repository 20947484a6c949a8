"""What a run tells of itself in its record."""

import math
from dataclasses import replace

import pytest

from tests.support.tiny_training import built_state, claimed, prepared_config
from training.state import TrainState
from training.trial.describe import describe
from training.trial.metrics import MetricsLog


@pytest.fixture
def state(tmp_path) -> TrainState:
    return built_state(prepared_config(tmp_path))


def test_describe_bits_per_byte_equal_a_hand_computation(state, tmp_path):
    """37 windows of 16 tokens at 6 bits each, over the bytes of the text that they stand for."""
    state.data = replace(state.data, text_bytes=37 * 16 * 3)
    state.loss = 6 * math.log(2)
    record = describe(state, claimed(tmp_path / "trial"), "done", None)
    assert record.loss_bpb == pytest.approx(2.0) and record.eval_tokens == 37 * 16
    assert describe(state, claimed(tmp_path / "other"), "diverged", "why").loss_bpb is None
    state.data = replace(state.data, text_bytes=0)
    assert describe(state, claimed(tmp_path / "third"), "done", None).loss_bpb is None


def test_describe_tells_the_highest_of_the_spikes(state, tmp_path):
    """The record tells the highest of the spikes."""
    attempt = claimed(tmp_path / "trial")
    losses = [3.0] * 30
    losses[14:16], losses[21:23] = [4.0, 3.6], [5.5, 4.5]
    log = MetricsLog(attempt.folder)
    for step, loss in enumerate(losses, 1):
        log.write({"step": step, "loss": loss})
    log.close()
    record = describe(state, attempt, "diverged", "why")
    assert (record.spikes, record.spike_step, record.spike_nats) == (4, 22, 2.5)
    calm = describe(state, claimed(tmp_path / "calm"), "diverged", "why")
    assert (calm.spikes, calm.spike_step, calm.spike_nats) == (0, None, None)
