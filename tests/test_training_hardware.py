"""The machine: peaks by name, MFU by the published count, and passes that fit."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import alone, prepared_config, tiny_config, train_once

from model.config import GPTConfig
from training.distributed import Ranks
from training.hardware import (
    decide,
    device_name,
    micro_batch_sequences,
    peak_memory,
)
from training.memory import head_that_fits, small_pass_tokens, tokens_that_fit
from training.peaks import mfu, peak_flops

CPU = torch.device("cpu")
SMALL = GPTConfig(12, 12, 768, block_size=1024, vocab_size=50257, init_std=0.02)


@pytest.mark.parametrize(
    ("name", "bf16", "float32"),
    [
        ("NVIDIA H200", 989.4e12, 66.9e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12, 66.9e12),
        ("NVIDIA H100 PCIe", 756e12, 51.2e12),
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12),
        ("NVIDIA L4", 121e12, 30.3e12),
        ("NVIDIA L40S", 362e12, 91.6e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12, 82.6e12),
        ("NVIDIA GB200", 2.5e15, 80e12),
        ("CPU Intel(R) Xeon(R) Processor", None, None),
        ("NVIDIA A1000", None, None),
    ],
)
def test_a_peak_is_known_by_name_or_not_at_all(name, bf16, float32):
    assert (peak_flops(name, "bf16"), peak_flops(name, "float32")) == (bf16, float32)


def test_mfu_by_hand():
    """GPT-2 small: 6 (124,439,808 - 786,432) + 12 * 12 * 768 * 1024 per token."""
    per_token = 6 * (124_439_808 - 786_432) + 12 * 12 * 768 * 1024
    assert mfu(SMALL, 1e5, "NVIDIA A100-SXM4-80GB", "bf16", 1) == pytest.approx(
        per_token * 1e5 / 312e12
    )
    assert mfu(SMALL, 8e5, "NVIDIA A100-SXM4-80GB", "bf16", 8) == pytest.approx(
        per_token * 1e5 / 312e12
    )
    assert mfu(SMALL, 1e5, "CPU", "bf16", 1) is None


@given(rank_batch=st.integers(1, 5000), block_size=st.sampled_from([16, 64, 1024, 60_000]))
def test_a_pass_fits_and_the_passes_are_even(rank_batch, block_size):
    config = GPTConfig(2, 2, 16, block_size=block_size, vocab_size=256, init_std=0.02)
    sequences = micro_batch_sequences(config, rank_batch, CPU)
    limit = max(1, small_pass_tokens(config, "cpu") // block_size)
    assert 1 <= sequences <= min(limit, rank_batch)
    parts, fewest = -(-rank_batch // sequences), -(-rank_batch // limit)
    assert parts < 2 * fewest
    smallest = rank_batch - sequences * (parts - 1)
    assert smallest > 0


def test_powers_of_two_are_cut_into_powers_of_two():
    config = GPTConfig(2, 2, 16, block_size=48, vocab_size=256, init_std=0.02)
    assert micro_batch_sequences(config, 4096, CPU) in (256, 512)


def test_a_large_vocabulary_makes_passes_small():
    assert small_pass_tokens(SMALL, "cpu") == 2**27 // 50304
    assert small_pass_tokens(SMALL, "cuda") == 2**28 // 50304


def test_this_machine_has_a_name_and_memory():
    assert device_name(CPU).startswith("CPU")
    assert peak_memory(CPU) > 50e6


def test_threads_are_decided_again_for_another_number_of_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr("training.hardware.usable_cores", lambda: 16)
    config = tiny_config(tmp_path, runtime__threads=None)
    schedule = replace(config.schedule, batch_tokens=8 * 1024, tokens=8 * 1024, warmup_tokens=0)
    evaluation = replace(config.evaluation, tokens=1024)
    config = replace(config, model=SMALL, schedule=schedule, evaluation=evaluation)
    first = decide(config, alone(), None)
    assert first.threads == 16
    monkeypatch.setattr(Ranks, "from_main", lambda _, function: function())  # this is rank 0
    eight = decide(config, Ranks(0, 8, 8, CPU, timeout_s=60), first)
    assert (eight.world_size, eight.threads) == (8, 2)
    monkeypatch.setattr("training.hardware.usable_cores", lambda: 4)
    assert decide(config, alone(), first).threads == 16  # as before: the bits depend on it


def test_little_work_is_not_divided_among_threads(tmp_path, monkeypatch):
    monkeypatch.setattr("training.hardware.usable_cores", lambda: 16)
    config = tiny_config(tmp_path, runtime__threads=None)
    assert decide(config, alone(), None).threads == 1
    asked = replace(config, runtime=replace(config.runtime, threads=3))
    assert decide(asked, alone(), None).threads == 3


def test_logits_are_kept_whole_where_there_is_room():
    """GPT-2 small with 64 sequences a rank; 8 GiB and 24 GiB are short, 80 GB and 139 GiB not."""
    gib, tokens = 2**30, 64 * 1024
    heads = [head_that_fits(SMALL, tokens, memory * gib) for memory in (8, 24, 74, 139)]
    assert heads == ["chunked", "chunked", "plain", "plain"]
    assert tokens_that_fit(SMALL, 24 * gib, "chunked") > 2 * tokens_that_fit(SMALL, 24 * gib)
    assert head_that_fits(SMALL, 1024, 24 * gib) == "plain"  # the whole share in one pass
    over_bytes = GPTConfig(12, 12, 768, block_size=1024, vocab_size=256, init_std=0.02)
    assert head_that_fits(over_bytes, tokens, 8 * gib) == "plain"  # the logits are not the matter


def test_the_head_is_decided_once_and_can_be_asked_for(tmp_path):
    config = prepared_config(tmp_path, 3)
    asked = replace(config, runtime=replace(config.runtime, loss_head="chunked"))
    first = decide(asked, alone(), None)
    assert (decide(config, alone(), None).head, first.head) == ("plain", "chunked")
    assert decide(config, alone(), first).head == "chunked"
    plain, chunked = (train_once(c, tmp_path / str(i)) for i, c in enumerate((config, asked)))
    assert chunked.id == plain.id
    assert chunked.loss == pytest.approx(plain.loss, abs=1e-5)
    environment = json.loads((tmp_path / "1/attempt-001/runtime.json").read_text())
    assert environment["head"] == "chunked"
