"""A plan counts each shape that is compiled once, and nothing for trials that are not."""

import pytest

from scaling.plan.compilation import compilations
from scaling.plan.memory import Device
from scaling.plan.stages import plan_stages
from scaling.run.planning import all_of, total_cost
from tests.support.plan_examples import experiment
from training.device.compilation import COMPILE_S, START_S, compiles, graph_key
from training.device.data_sheets import gpu_memory
from training.device.stated import stated_throughput

H200 = stated_throughput("H200", None, "bf16", 1, 1)
DEVICE = Device("cuda", gpu_memory("H200"))


def plans_of(name: str, *words: str):
    base, grid = experiment(name, *words)
    return plan_stages(base, grid, None, H200, DEVICE.memory_bytes)


def test_each_compiled_shape_is_waited_for_once():
    """Over both stages: one trial a shape, of those that are compiled."""
    plans = plans_of("isoflop_s")
    found = compilations(plans, H200, DEVICE)
    trials = {trial.id: trial.config for trial in all_of(plans).trials}
    compiled = {i: config for i, config in trials.items() if compiles(config, H200)}
    shapes = {graph_key(config, "cuda", DEVICE.usable_bytes, 1) for config in compiled.values()}
    assert 0 < len(shapes) == len(found.waits) < len(compiled) < len(trials)
    assert found.waits.keys() <= compiled.keys()
    assert {graph_key(trials[i], "cuda", DEVICE.usable_bytes, 1) for i in found.waits} == shapes
    assert set(found.waits.values()) == {START_S + COMPILE_S}
    assert found.not_compiled == len(trials) - len(compiled)
    assert found.line.startswith(f"compilation: {len(shapes)} shapes of 45 s (estimated): ")
    assert len(found.line) <= 100


def test_cost_of_a_plan_has_its_compilations():
    """One at a time, the hours are those of all steps and of all compilations."""
    plans = plans_of("isoflop_m")
    waits = compilations(plans, H200, DEVICE).waits
    with_it, without = total_cost(plans, 1, waits), total_cost(plans, 1)
    assert with_it.work_s == pytest.approx(without.work_s + 45 * len(waits))
    assert with_it.wall_s == pytest.approx(with_it.work_s)
    assert total_cost(plans, 8, waits).wall_s > total_cost(plans, 8).wall_s


def test_nothing_is_counted_where_nothing_compiles():
    """Not on a CPU, not of toys, not where the config says no, and not of unknown seconds."""
    assert compilations(plans_of("quickstart"), H200, DEVICE).waits == {}
    assert compilations(plans_of("isoflop_m", "runtime.compile=false"), H200, DEVICE).waits == {}
    assert not compilations(plans_of("isoflop_m"), H200, Device("cpu", None))
    assert not compilations(plans_of("isoflop_m"), None, DEVICE)
