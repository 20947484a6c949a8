"""A config is accepted whole or refused in one line that names the field."""

import os
from pathlib import Path

import pytest

from common.errors import BadInput
from configs.load import compose_config
from configs.overrides import Keys
from tests.support.train_configs import copy_configs, load_config


def test_overrides_take_whole_floats_as_whole_numbers():
    assert load_config("experiment=smoke", "schedule.tokens=1e6").schedule.tokens == 1_000_000


# What is typed or written, and what the one line must name.
REFUSED = {
    "optimzer.lr=1": ("optimzer.lr", "optimizer.lr"),
    "modle=toy": ("modle", "model"),
    "model=toyy": ("model", "toyy", "toy"),
    "experiment=nothing": ("experiment", "nothing", "smoke"),
    "optimizer.lr=fast": ("optimizer.lr", "fast", "number"),
    "optimizer.lr='1e-3'": ("optimizer.lr", "1e-3", "without quotes"),
    "optimizer.lr=-1": ("optimizer.lr", "-1", "more than 0"),
    "optimizer.lr=true": ("optimizer.lr", "True", "number"),
    "optimizer.lr=nan": ("optimizer.lr", "nan", "finite"),
    "optimizer.lr=null": ("optimizer.lr", "None", "number"),
    "optimizer.betas=[0.9]": ("optimizer.betas", "2 values"),
    "optimizer.betas=[0.9,1.5]": ("optimizer.betas", "1.5"),
    "optimizer.betas=0.9": ("optimizer.betas", "list"),
    "optimizer=[1]": ("optimizer", "1"),
    "seed=1.5": ("seed", "1.5", "whole"),
    "seed=-1": ("seed", "-1"),
    "precision=fp16": ("precision", "fp16", "bf16"),
    "model.n_layer=0": ("model.n_layer", "0"),
    "model.n_head=3": ("model.n_head", "3", "16"),
    "schedule.batch_tokens=100": ("schedule.batch_tokens", "100", "64"),
    "schedule.tokens=3e18x": ("schedule.tokens", "3e18x"),
    "schedule.warmup_tokens=1e9": ("schedule.warmup_tokens", "1000000000"),
    "data.source=web": ("data.source", "web", "python"),
    "data.path=/x": ("data.path", "/x", "null"),
    "data.val_fraction=2": ("data.val_fraction", "2"),
    "runtime.device=tpu": ("runtime.device", "tpu", "cuda"),
    "runtime.log_every_steps=0": ("runtime.log_every_steps", "0"),
    "runtime.compile=maybe": ("runtime.compile", "maybe", "true or false"),
    "runtime.data_dir=${oc.env:HOME}": ("oc.env",),
    "nonsense": ("nonsense", "key=value"),
    "seed=[": ("seed",),
    "data.source=é": ("data.source=é", "in quotes, as 'data.source=\"é\"'"),
}


@pytest.mark.parametrize("override", REFUSED)
def test_overrides_refused_in_one_line_that_names_the_field(override):
    with pytest.raises(BadInput) as error:
        load_config("experiment=smoke", override)
    line = str(error.value)
    assert "\n" not in line.strip()
    for word in REFUSED[override]:
        assert word in line


@pytest.fixture
def copied_configs(tmp_path: Path) -> Path:
    return copy_configs(tmp_path / "c")


def test_file_with_a_misspelt_key_is_refused(copied_configs):
    path = copied_configs / "experiment" / "mine.yaml"
    path.write_text("# @package _global_\noptimizer:\n  weight_decy: 0.2\n")
    with pytest.raises(BadInput, match="optimizer.weight_decy: unknown key.*weight_decay"):
        load_config("experiment=mine", config_dir=copied_configs)


def test_file_without_a_key_is_refused(copied_configs):
    (copied_configs / "optimizer" / "mine.yaml").write_text("name: adamw\n")
    with pytest.raises(BadInput, match="optimizer.lr: missing"):
        load_config("optimizer=mine", config_dir=copied_configs)


def test_missing_value_is_named():
    """What must be given is named."""
    with pytest.raises(BadInput, match="data.path: missing; give it, as data.path="):
        load_config("data=files")


def test_open_keys_and_map_keys_are_taken_as_typed(tmp_path):
    """Paths and open keys are taken as typed."""
    (tmp_path / "root.yaml").write_text("where: {}\n")
    typed = ["out=a=b,c's", "where.lr=0.1", "where.n (M).x/y='x-y'", "where.z=null"]
    values = compose_config("root", typed, tmp_path, keys=Keys(open=("out",), maps=("where",)))
    assert values == {"out": "a=b,c's", "where": {"lr": "0.1", "n (M).x/y": "x-y", "z": None}}


@pytest.mark.parametrize("path", ["é 文.txt", "a,b", "a(b)=c", "d's"])
@pytest.mark.parametrize("key", ["data.path", "init_from", "runtime.data_dir", "runtime.stage"])
@pytest.mark.parametrize("root", ["train", "sweep"])
def test_paths_are_taken_as_typed(root, key, path):
    """The paths of a trial are taken as typed."""
    node = compose_config(root, ["experiment=shakespeare", "data.path=x", f"{key}={path}"])
    for part in key.split("."):
        node = node[part]
    assert node == path


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("[a]", ["a"]),
        ("[a b, 0.1 ,null]", ["a b", "0.1", None]),
        ("""['a,b', "[c]", 'null']""", ["a,b", "[c]", "null"]),
        ("'[a,b]'", "[a,b]"),
        ("[]", []),
        ("[a", "[a"),
        ("", ""),
    ],
)
def test_map_keys_take_a_list_in_brackets(tmp_path, typed, value):
    """A list in brackets is one of several values."""
    (tmp_path / "root.yaml").write_text("where: {}\n")
    values = compose_config("root", [f"where.k={typed}"], tmp_path, keys=Keys(maps=("where",)))
    assert values == {"where": {"k": value}}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seed: ${", "seed"),
        ('model:\n  b: ${oc.env:"x', "model.b"),
        ('model:\n  n_layer: [1, "${a"]', "model.n_layer[1]"),
        ("seed: ${oc.env:HOME}", "seed"),
        ("a:\n  b: ${hydra:runtime.cwd}", "a.b"),
        ("seed: ${no_resolver:1}", "seed"),
        ("seed: ${nothing}", "seed"),
        ("seed: ${.seed}", "seed"),
        ("hydra: ${a:b", "hydra"),
    ],
)
def test_interpolation_that_fails_names_its_key(tmp_path, text, key):
    """Whatever the resolver, and where the grammar itself fails, one line begins with the key."""
    (tmp_path / "config.yaml").write_text(f"{text}\n")
    with pytest.raises(BadInput) as refusal:
        compose_config("config", config_dir=tmp_path)
    said = str(refusal.value)
    assert said.startswith(f"{key}: ") and "\n" not in said
    assert "Exception" not in said and os.environ["HOME"] not in said
