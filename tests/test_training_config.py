"""A trial's id is a digest of its config without the part that says where and how it runs."""

import re
from dataclasses import replace

import pytest

from common.errors import BadInput
from configs.schema import build
from tests.support.train_configs import load_config
from training.config import TrainConfig, as_mapping
from training.trial.identity import science, setting_digest, trial_id


@pytest.fixture(scope="module")
def smoke() -> TrainConfig:
    return load_config("experiment=smoke")


def test_as_mapping_and_back_is_the_same(smoke):
    assert build(TrainConfig, as_mapping(smoke)) == smoke


def test_trial_id_depends_on_the_science_alone(smoke):
    elsewhere = replace(smoke, runtime=replace(smoke.runtime, threads=7, data_dir="elsewhere"))
    assert trial_id(elsewhere) == trial_id(smoke)
    assert trial_id(replace(smoke, seed=1)) != trial_id(smoke)
    assert setting_digest(replace(smoke, seed=1)) == setting_digest(smoke)
    assert trial_id(replace(smoke, precision="bf16")) != trial_id(smoke)


def test_trial_id_leaves_out_a_cosine_that_ends_at_the_budget(smoke):
    assert "cosine_tokens" not in science(smoke)["schedule"]
    schedule = replace(smoke.schedule, cosine_tokens=2 * smoke.schedule.tokens)
    assert trial_id(replace(smoke, schedule=schedule)) != trial_id(smoke)


def test_ids_of_sweeps_that_are_there_stay(smoke):
    """The ids and settings that earlier plans hold, and how the data are checked is no part."""
    assert (trial_id(smoke), setting_digest(smoke)) == ("d73960be9a5e6ef4", "d2495207f39e68d3")
    own = load_config("experiment=smoke", "data=files", "data.path=texts/a.jsonl")
    assert (trial_id(own), setting_digest(own)) == ("fee60bfeccc92325", "b025cb7625ded972")
    checked = replace(own, data=replace(own.data, verify="full"))
    assert (trial_id(checked), setting_digest(checked)) == (trial_id(own), setting_digest(own))


@pytest.mark.parametrize(("path", "value", "complaint"), [
    ("optimizer.grad_clip", 0, "optimizer.grad_clip: found 0.0, expected more than 0, or null"),
    ("precision", "bf16", "precision: found bf16 with runtime.device=mps, expected float32"),
    ("runtime.compile", True, "runtime.compile: found true with runtime.device=mps"),
    ("runtime.device", "tpu", "runtime.device: found 'tpu', expected auto, cpu, cuda or mps"),
])  # fmt: skip
def test_config_refuses_what_a_device_or_a_step_cannot_do(smoke, path, value, complaint):
    """Clipping at 0, and what mps does not have, are refused by name."""
    values = as_mapping(smoke)
    values["runtime"]["device"] = "mps"
    build(TrainConfig, values)  # float32, not compiled
    *groups, name = path.split(".")
    (values[groups[0]] if groups else values)[name] = value
    with pytest.raises(BadInput, match=f"^{re.escape(complaint)}"):
        build(TrainConfig, values)


def test_residual_in_bf16_is_another_trial_and_in_float32_none(smoke):
    """A residual stream in float32 goes without saying; one in bf16 is of that precision only."""
    values = as_mapping(smoke)
    assert values["model"].pop("residual") == "float32"
    assert build(TrainConfig, values) == smoke and "residual" not in science(smoke)["model"]
    values["model"]["residual"] = "bf16"
    complaint = "model.residual: found bf16 with precision=float32, expected float32"
    with pytest.raises(BadInput, match=f"^{re.escape(complaint)}"):
        build(TrainConfig, values)
    rounded = build(TrainConfig, values | {"precision": "bf16"})
    assert trial_id(rounded) != trial_id(replace(smoke, precision="bf16"))
    assert setting_digest(rounded) == setting_digest(smoke)


def test_config_without_clipping_is_another_trial(smoke):
    """Null turns clipping off, and changes the id."""
    off = replace(smoke, optimizer=replace(smoke.optimizer, grad_clip=None))
    assert trial_id(off) != trial_id(smoke)
    assert build(TrainConfig, as_mapping(off)) == off
