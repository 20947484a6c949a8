"""Memory and disk: exact numbers decide, estimates are only shown."""

from dataclasses import replace

import pytest

from common.errors import BadInput
from common.numbers import byte_size
from configs.load import compose_config
from configs.schema import build
from model.flops import params_allocated
from scaling.plan.grid import plan_grid
from scaling.plan.memory import Device, disk, drop_oversized_cells
from tests.support.plan_examples import CORPUS, QUICKSTART
from tests.support.tiny_training import tiny_config
from training.config import TrainConfig
from training.device.data_sheets import gpu_memory
from training.device.memory import run_bytes, state_bytes

PLAN = plan_grid(*QUICKSTART, CORPUS)


def test_state_bytes_are_four_floats_a_weight():
    """GPT-2 small, 124M and its padding: 2 GB before any activation."""
    config = build(TrainConfig, compose_config("trial"))
    assert params_allocated(config.model) == 124_475_904
    assert state_bytes(config) == 16 * 124_475_904
    muon = replace(config, optimizer=replace(config.optimizer, name="muon"))
    assert state_bytes(config) - state_bytes(muon) == 4 * 84_934_656


def test_run_bytes_are_bounded_by_micro_batch(tmp_path):
    """A micro batch bounds what a larger batch takes."""
    config = replace(tiny_config(tmp_path), precision="float32")
    small = replace(config, runtime=replace(config.runtime, micro_batch=1))
    assert run_bytes(small, "cuda", None) < run_bytes(config, "cuda", None)
    assert run_bytes(config, "cuda", None, ranks=2) < run_bytes(config, "cuda", None)
    large = build(TrainConfig, compose_config("trial", ["model=gpt2_774m", "precision=bf16"]))
    for memory in (40e9, 80e9):
        needed = run_bytes(large, "cuda", int(memory))
        assert 0.3 * memory < needed < memory


def test_drop_oversized_cells_states_both_numbers():
    """Only what no device can hold is left out with both numbers."""
    widths = {trial.config.model.n_embd: state_bytes(trial.config) for trial in PLAN.trials}
    fits = drop_oversized_cells(replace(PLAN, memory_bytes=widths[64]))
    assert {trial.config.model.n_embd for trial in fits.trials} == set(widths) - {96}
    (cell,) = fits.left_out
    assert (cell.flops_budget, cell.n_layer, cell.n_embd) == (8e11, 2, 96)
    limits = (
        f"{byte_size(widths[96])} of weights, gradients and moments, expected at most the device's "
    )
    assert cell.reason == limits + byte_size(widths[64])
    large = replace(PLAN, memory_bytes=10**9)
    assert drop_oversized_cells(PLAN) is PLAN and drop_oversized_cells(large) is large
    with pytest.raises(BadInput, match="no size fits; at .* of weights, gradients and moments"):
        drop_oversized_cells(replace(PLAN, memory_bytes=1000))


def test_disk_holds_checkpoints_of_largest_parallel_trials():
    """Checkpoints are those of the largest trials that run at once."""
    largest = max(params_allocated(trial.config.model) for trial in PLAN.trials)
    needed = disk(PLAN, 1, False, 2 * CORPUS)
    assert needed.checkpoints == 3 * 12 * largest and needed.data == 2 * CORPUS
    every = sum(params_allocated(trial.config.model) for trial in PLAN.trials)
    assert disk(PLAN, 100, False, None).checkpoints == 3 * 12 * every
    assert disk(PLAN, 1, True, None).checkpoints == 12 * (3 * largest + 2 * (every - largest))
    # The quickstart left 16.4 MB of metrics.jsonl.
    assert needed.records == pytest.approx(17e6, rel=0.1)
    assert needed.total == needed.checkpoints + needed.records + needed.data


def test_memory_of_device_is_its_names_or_largest_variants():
    """Memory is what the name says, else that of the largest variant."""
    assert gpu_memory("NVIDIA H200") == 141 * 2**30 and gpu_memory("a100") == 80 * 2**30
    assert gpu_memory("NVIDIA A100-SXM4-40GB") == gpu_memory("a100 40 gb") == 40 * 2**30
    assert gpu_memory("NVIDIA GH200 480GB") == 144 * 2**30  # its processor's
    assert gpu_memory("GB200") == 192 * 2**30 and gpu_memory("Radeon") is None


def test_device_estimates_memory_of_trial():
    """Device has an estimate for every trial, within its share of what the device has."""
    assert Device("cuda", None, 1).run_bytes(PLAN.trials[0].config) > 0
    large = build(TrainConfig, compose_config("trial", ["precision=bf16"]))
    for share in (1.0, 0.5, 0.25):
        needed = Device("cuda", 40 * 10**9, 1, share).run_bytes(large)
        assert 0.3 * share * 40e9 < needed < share * 40e9
