"""The machine: peaks by name, MFU by the published count, and passes that fit."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import GPTConfig
from tests.support.tiny_training import alone, prepared_config, tiny_config, train_once
from training.device.data_sheets import peak_flops
from training.device.memory import (
    Computation,
    head_that_fits,
    micro_batch_by_rule,
    safe_micro_batch_tokens,
    tokens_that_fit,
)
from training.device.mfu import mfu
from training.environment import (
    decide,
    device_name,
    gpu_memory_bytes,
    limit_memory,
    peak_memory,
)
from training.ranks.distributed import Ranks

CPU = torch.device("cpu")
SMALL = GPTConfig(12, 12, 768, block_size=1024, vocab_size=50257, init_std=0.02)


@pytest.mark.parametrize(
    ("name", "bf16", "float32"),
    [
        ("NVIDIA H200", 989.4e12, 66.9e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12, 66.9e12),
        ("NVIDIA H100 PCIe", 756e12, 51.2e12),
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12),
        ("h200", 989.4e12, 66.9e12),
        ("a100-80gb", 312e12, 19.5e12),
        ("h100_pcie", 756e12, 51.2e12),
        ("H100PCIE", 756e12, 51.2e12),
        ("rtx4090", 165.2e12, 82.6e12),
        ("h2000", None, None),
        ("NVIDIA L4", 121e12, 30.3e12),
        ("NVIDIA L40S", 362e12, 91.6e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12, 82.6e12),
        ("NVIDIA GB200", 2.5e15, 80e12),
        ("CPU Intel(R) Xeon(R) Processor", None, None),
        ("NVIDIA A1000", None, None),
    ],
)
def test_environment_peak_is_known_by_name_or_not_at_all(name, bf16, float32):
    """A peak is known by name or not at all."""
    assert (peak_flops(name, "bf16"), peak_flops(name, "float32")) == (bf16, float32)


def test_environment_mfu_equals_a_hand_computation():
    """Mfu by hand. GPT-2 small: 6 (124,439,808 - 786,432) + 12 * 12 * 768 * 1024 per token."""
    per_token = 6 * (124_439_808 - 786_432) + 12 * 12 * 768 * 1024
    assert mfu(SMALL, 1e5, "NVIDIA A100-SXM4-80GB", "bf16", 1) == pytest.approx(
        per_token * 1e5 / 312e12
    )
    assert mfu(SMALL, 8e5, "NVIDIA A100-SXM4-80GB", "bf16", 8) == pytest.approx(
        per_token * 1e5 / 312e12
    )
    assert mfu(SMALL, 1e5, "CPU", "bf16", 1) is None


@given(rank_batch=st.integers(1, 5000), block_size=st.sampled_from([16, 64, 1024, 60_000]))
def test_environment_micro_batches_fit_and_are_even(rank_batch, block_size):
    """A micro-batch fits and the micro-batches are even."""
    config = GPTConfig(2, 2, 16, block_size=block_size, vocab_size=256, init_std=0.02)
    sequences = micro_batch_by_rule(config, rank_batch, "cpu", None)
    limit = max(1, safe_micro_batch_tokens(config, "cpu") // block_size)
    assert 1 <= sequences <= min(limit, rank_batch)
    parts, fewest = -(-rank_batch // sequences), -(-rank_batch // limit)
    assert parts < 2 * fewest
    smallest = rank_batch - sequences * (parts - 1)
    assert smallest > 0


def test_environment_powers_of_two_are_cut_into_powers_of_two():
    """Powers of two are cut into powers of two."""
    config = GPTConfig(2, 2, 16, block_size=48, vocab_size=256, init_std=0.02)
    assert micro_batch_by_rule(config, 4096, "cpu", None) in (256, 512)


def test_environment_large_vocabulary_makes_micro_batches_small():
    """A large vocabulary makes passes small."""
    assert safe_micro_batch_tokens(SMALL, "cpu") == 2**27 // 50304
    assert safe_micro_batch_tokens(SMALL, "cuda") == 2**28 // 50304


def test_environment_names_this_machine_and_its_memory():
    """This machine has a name and memory."""
    assert device_name(CPU).startswith("CPU")
    assert peak_memory(CPU) > 50e6


def test_environment_decides_threads_again_for_another_number_of_ranks(tmp_path, monkeypatch):
    """Threads are decided again for another number of ranks."""
    monkeypatch.setattr("training.environment.usable_cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    config = tiny_config(tmp_path, runtime__threads=None)
    schedule = replace(config.schedule, batch_tokens=8 * 1024, tokens=8 * 1024, warmup_tokens=0)
    evaluation = replace(config.evaluation, tokens=1024)
    config = replace(config, model=SMALL, schedule=schedule, evaluation=evaluation)
    first = decide(config, alone(), None)
    assert first.threads == 16
    monkeypatch.setattr(Ranks, "broadcast_from_rank0", lambda _, answer: answer())
    eight = decide(config, Ranks(0, 8, 8, CPU, timeout_s=60), first)
    assert (eight.world_size, eight.threads) == (8, 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert decide(config, alone(), None).threads == 3
    asked = replace(config, runtime=replace(config.runtime, threads=5))
    assert decide(asked, alone(), None).threads == 5
    monkeypatch.setattr("training.environment.usable_cores", lambda: 4)
    assert decide(config, alone(), first).threads == 16  # as before: the bits depend on it


def test_environment_does_not_divide_little_work_among_threads(tmp_path, monkeypatch):
    """Little work is not divided among threads."""
    monkeypatch.setattr("training.environment.usable_cores", lambda: 16)
    config = tiny_config(tmp_path, runtime__threads=None)
    assert decide(config, alone(), None).threads == 1
    asked = replace(config, runtime=replace(config.runtime, threads=3))
    assert decide(asked, alone(), None).threads == 3


def test_environment_keeps_logits_whole_where_they_have_room():
    """Logits are kept whole where there is room.

    GPT-2 small with 64 sequences a rank, not compiled; 8 GiB are short.
    """
    gib, tokens = 2**30, 64 * 1024
    eager = Computation(compiled=False)
    heads = [head_that_fits(SMALL, tokens, memory * gib, eager) for memory in (8, 24, 74, 139)]
    assert heads == ["chunked", "plain", "plain", "plain"]
    few = tokens_that_fit(SMALL, 8 * gib, "plain", eager)
    assert tokens_that_fit(SMALL, 8 * gib, "chunked", eager) > few
    assert head_that_fits(SMALL, 1024, 8 * gib, eager) == "plain"  # the whole share in one pass
    over_bytes = GPTConfig(12, 12, 768, block_size=1024, vocab_size=256, init_std=0.02)
    few_layers = replace(over_bytes, n_layer=1)
    assert head_that_fits(few_layers, tokens, 5 * gib // 2, eager) == "plain"  # logits are small


def test_limit_of_memory_is_that_of_the_trial(monkeypatch):
    """A share is set for a trial that has one, and lifted for the next that has all."""
    gpu, set_to = torch.device("cuda", 0), []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, 40 * 10**9))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda part, device: set_to.append(part)
    )
    for share in (1.0, 0.5, 0.25, 1.0, 1.0):
        limit_memory(gpu, share)
        limit_memory(CPU, share)
    assert set_to == [pytest.approx(0.485), pytest.approx(0.235), 1.0]
    assert gpu_memory_bytes(gpu, 0.5) == 19_400_000_000 and gpu_memory_bytes(CPU, 0.5) is None


def test_environment_decides_the_head_once_unless_asked_for(tmp_path):
    """The head is decided once and can be asked for."""
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
