"""Memory and disk: what is exact decides, what is estimated is said."""

from dataclasses import replace

import pytest
from test_plan_grid import CORPUS, QUICKSTART
from tiny_training import tiny_config

from configs.errors import BadInput
from configs.load import build, compose_config
from model.flops import params_allocated
from scaling.plan.grid import plan_grid
from scaling.plan.space import Device, disk, memory_of, size, that_fit
from training.config import TrainConfig
from training.memory import run_bytes, state_bytes

PLAN = plan_grid(*QUICKSTART, CORPUS)


def test_weights_gradients_and_moments_are_four_floats_a_weight():
    """GPT-2 small, 124M and its padding: 2 GB before any activation."""
    config = build(TrainConfig, compose_config("trial"))
    assert params_allocated(config.model) == 124_475_904
    assert state_bytes(config) == 16 * 124_475_904
    muon = replace(config, optimizer=replace(config.optimizer, name="muon"))
    assert state_bytes(config) - state_bytes(muon) == 4 * 84_934_656


def test_a_micro_batch_bounds_what_a_larger_batch_takes(tmp_path):
    config = replace(tiny_config(tmp_path), precision="float32")
    small = replace(config, runtime=replace(config.runtime, micro_batch=1))
    assert run_bytes(small, "cuda", None) < run_bytes(config, "cuda", None)
    assert run_bytes(config, "cuda", None, ranks=2) < run_bytes(config, "cuda", None)
    large = build(TrainConfig, compose_config("trial", ["model=gpt2_774m", "precision=bf16"]))
    for memory in (40e9, 80e9):
        needed = run_bytes(large, "cuda", int(memory))
        assert 0.3 * memory < needed < memory


def test_only_what_no_device_can_hold_is_left_out_with_both_numbers():
    widths = {trial.config.model.n_embd: state_bytes(trial.config) for trial in PLAN.trials}
    fits = that_fit(PLAN, widths[64])
    assert {trial.config.model.n_embd for trial in fits.trials} == set(widths) - {96}
    (cell,) = fits.left_out
    assert (cell.flops_budget, cell.n_layer, cell.n_embd) == (8e11, 2, 96)
    limits = f"{size(widths[96])} of weights, gradients and moments, expected at most the device's "
    assert cell.reason == limits + size(widths[64])
    assert that_fit(PLAN, None) is PLAN and that_fit(PLAN, 10**9) is PLAN
    with pytest.raises(BadInput, match="no size fits; at .* of weights, gradients and moments"):
        that_fit(PLAN, 1000)


def test_checkpoints_are_those_of_the_largest_trials_that_run_at_once():
    largest = max(params_allocated(trial.config.model) for trial in PLAN.trials)
    needed = disk(PLAN, 1, False, CORPUS)
    assert needed.checkpoints == 3 * 12 * largest and needed.data == 2 * CORPUS
    every = sum(params_allocated(trial.config.model) for trial in PLAN.trials)
    assert disk(PLAN, 100, False, None).checkpoints == 3 * 12 * every
    assert disk(PLAN, 1, True, None).checkpoints == 12 * (3 * largest + 2 * (every - largest))
    # The quickstart left 16.4 MB of metrics.jsonl.
    assert needed.records == pytest.approx(17e6, rel=0.1)
    assert needed.total == needed.checkpoints + needed.records + needed.data


def test_memory_by_name_is_that_of_the_largest_variant():
    assert (
        memory_of("NVIDIA H200") == 141 * 2**30 and memory_of("NVIDIA A100-SXM4-40GB") == 80 * 2**30
    )
    assert memory_of("GB200") == 192 * 2**30 and memory_of("Radeon") is None


def test_bytes_for_people():
    assert [size(n) for n in (12, 3.2e5, 7.5e9, 2e12)] == ["12 B", "320 kB", "7.5 GB", "2 TB"]
    assert Device("cuda", None, 1).run_bytes(PLAN.trials[0].config) > 0
