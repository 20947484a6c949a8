"""A trial is compiled where that saves more time than it takes, by its config and its device."""

from dataclasses import replace

import pytest

from configs.load import compose_config
from configs.schema import build
from tests.support.tiny_training import alone, prepared_config
from training.config import TrainConfig
from training.device.compilation import (
    COMPILE_S,
    NOT_COMPILED,
    compiles,
    compiles_on,
    graph_key,
)
from training.device.data_sheets import gpu_memory
from training.device.stated import stated_throughput
from training.environment import crowding, decide

GPT2 = build(
    TrainConfig, compose_config("trial", ["precision=bf16", "schedule.batch_tokens=16384"])
)
H200 = stated_throughput("H200", None, "bf16", 1, 1)


def of_steps(steps: int) -> TrainConfig:
    schedule = replace(GPT2.schedule, tokens=steps * 16384, warmup_tokens=0)
    return replace(GPT2, schedule=schedule)


@pytest.mark.parametrize("steps", [10, 100, 1000, 10_000])
def test_trial_is_compiled_where_steps_save_more_than_it_takes(steps):
    """Steps times saving against seconds of compilation."""
    config = of_steps(steps)
    saved_s = H200.trial_s(config) * (NOT_COMPILED - 1)
    assert compiles(config, H200) == (saved_s > COMPILE_S)
    assert compiles_on(config, "NVIDIA H200", 1) == compiles(config, H200)


def test_rule_has_both_sides():
    """A run of ten steps is not compiled on an H200, a day's is; nor is a day's on a CPU."""
    assert not compiles_on(of_steps(10), "NVIDIA H200", 1)
    assert compiles_on(of_steps(10_000), "NVIDIA H200", 1)
    # Eight devices end so much sooner that it no longer pays.
    (steps,) = [n for n in range(1, 2000) if compiles_on(of_steps(n), "NVIDIA H200", 1)][:1]
    assert not compiles_on(of_steps(steps), "NVIDIA H200", 8)
    assert compiles_on(of_steps(10), "Abacus 3000", 1)  # whose steps may take any time


@pytest.mark.parametrize("asked", [True, False])
def test_config_says_before_the_rule(asked):
    """What the config says is no matter of rules."""
    for steps in (10, 10_000):
        config = of_steps(steps)
        config = replace(config, runtime=replace(config.runtime, compile=asked))
        assert compiles_on(config, "NVIDIA H200", 1) == asked


def test_trial_that_shares_its_device_is_compiled_as_alone():
    """What runs beside a trial decides nothing of how it computes."""
    packed = stated_throughput("H200", None, "bf16", 1, 4)
    for steps in range(100, 1500, 100):
        assert compiles(of_steps(steps), packed) == compiles(of_steps(steps), H200)
    assert packed.trial_s(of_steps(9)) == pytest.approx(4 * packed.alone_s(of_steps(9)))


def test_later_attempt_is_compiled_as_the_first(tmp_path):
    """The rule is asked once: what an attempt on this device decided binds."""
    config = prepared_config(tmp_path)
    first = decide(config, alone(), None)
    assert not first.compile
    earlier = replace(first, compile=True)
    assert decide(config, alone(), earlier).compile
    assert not decide(config, alone(), replace(earlier, device="another")).compile


def test_graph_key_is_of_the_parts_of_a_batch():
    """Batches of equal parts share their graphs; another part, last part or model has its own."""

    memory = gpu_memory("H200")

    def key(sequences: int, config: TrainConfig = GPT2, micro_batch: int | None = 8) -> str:
        schedule = replace(config.schedule, batch_tokens=sequences * config.model.block_size)
        runtime = replace(config.runtime, micro_batch=micro_batch)
        return graph_key(replace(config, schedule=schedule, runtime=runtime), "cuda", memory, 1)

    assert key(16) == key(8) == key(64)
    assert len({key(16), key(12), key(4)}) == 3 and key(4) == key(16, micro_batch=4)
    wider = replace(GPT2, model=replace(GPT2.model, n_head=1))
    assert key(16, wider) != key(16) != key(16, replace(GPT2, precision="float32"))
    assert key(16, micro_batch=None) != key(48, micro_batch=None)  # one part each


def test_threads_beyond_the_cores_are_said(tmp_path):
    """Threads that take turns are asked for by mistake, mostly."""
    config = prepared_config(tmp_path)
    assert crowding(config, alone()) is None
    many = replace(config, runtime=replace(config.runtime, threads=999))
    assert crowding(many, alone()).startswith("runtime.threads 999: 999 threads take turns on ")
