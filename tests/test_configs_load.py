"""A config is accepted whole or refused in one line that names the field."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.check import check_yaml
from configs.errors import BadInput, ExitStatus, StopRequested
from configs.load import CONFIG_DIR, build, compose_config, run_entry
from training.config import TrainConfig, as_mapping, science, setting_digest, trial_id


def load(*overrides: str, config_dir: Path = CONFIG_DIR) -> TrainConfig:
    values = compose_config("train", overrides, config_dir)
    for name in ("grid", "fit"):  # an experiment for sweeps serves train.py too
        values.pop(name, None)
    return build(TrainConfig, values)


@pytest.fixture(scope="module")
def smoke() -> TrainConfig:
    return load("experiment=smoke")


def test_mapping_and_back_is_the_same(smoke):
    assert build(TrainConfig, as_mapping(smoke)) == smoke


def test_id_depends_on_the_science_alone(smoke):
    elsewhere = replace(smoke, runtime=replace(smoke.runtime, threads=7, data_dir="elsewhere"))
    assert trial_id(elsewhere) == trial_id(smoke)
    assert trial_id(replace(smoke, seed=1)) != trial_id(smoke)
    assert setting_digest(replace(smoke, seed=1)) == setting_digest(smoke)
    assert trial_id(replace(smoke, precision="bf16")) != trial_id(smoke)


def test_a_cosine_that_ends_at_the_budget_is_not_in_the_id(smoke):
    assert "cosine_tokens" not in science(smoke)["schedule"]
    schedule = replace(smoke.schedule, cosine_tokens=2 * smoke.schedule.tokens)
    assert trial_id(replace(smoke, schedule=schedule)) != trial_id(smoke)


def test_whole_floats_are_whole_numbers():
    assert load("experiment=smoke", "schedule.tokens=1e6").schedule.tokens == 1_000_000


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
def test_refusal_is_one_line_that_names_the_field(override):
    with pytest.raises(BadInput) as error:
        load("experiment=smoke", override)
    line = str(error.value)
    assert "\n" not in line.strip()
    for word in REFUSED[override]:
        assert word in line


@pytest.fixture
def copied_configs(tmp_path):
    shutil.copytree(CONFIG_DIR, tmp_path / "c", ignore=shutil.ignore_patterns("*.py", "__py*"))
    return tmp_path / "c"


def test_a_misspelt_key_in_a_file_is_refused(copied_configs):
    path = copied_configs / "experiment" / "mine.yaml"
    path.write_text("# @package _global_\noptimizer:\n  weight_decy: 0.2\n")
    with pytest.raises(BadInput, match="optimizer.weight_decy: unknown key.*weight_decay"):
        load("experiment=mine", config_dir=copied_configs)


def test_a_missing_key_in_a_file_is_refused(copied_configs):
    (copied_configs / "optimizer" / "mine.yaml").write_text("name: adamw\n")
    with pytest.raises(BadInput, match="optimizer.lr: missing"):
        load("optimizer=mine", config_dir=copied_configs)


FILES = {
    "octal": (b"seed: 010\n", "010"),
    "clock": (b"seed: 12:30:00\n", "12:30:00"),
    "duplicate": (b"seed: 1\nseed: 2\n", "seed"),
    "latin1": (b"x: \xe9\n", "UTF-8"),
    "nul": (b"x: a\x00b\n", "YAML"),
    "list": (b"- 1\n", "key: value"),
    "text": (b"hello\n", "key: value"),
    "open": (b"x: [1\n", "YAML"),
    "tag": (b"x: !!python/object/apply:os.system [echo]\n", ""),
    "bomb": (
        b"a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
        "alias",
    ),
    "deep": (b"x: " + b"[" * 500 + b"]" * 500 + b"\n", "nested"),
    "large": (b"x: " + b"a" * 2_000_000 + b"\n", "bytes"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_yaml_reads_otherwise_is_refused_quickly(name, copied_configs):
    content, word = FILES[name]
    (copied_configs / "experiment" / "bad.yaml").write_bytes(b"# @package _global_\n" + content)
    start = time.monotonic()
    with pytest.raises(BadInput) as error:
        load("experiment=bad", config_dir=copied_configs)
    assert time.monotonic() - start < 5
    assert word in str(error.value)


def test_a_bad_file_that_nothing_names_does_no_harm(copied_configs):
    (copied_configs / "experiment" / "draft.yaml").write_bytes(b"x: \xe9\n")
    (copied_configs / "experiment" / "._smoke.yaml").write_bytes(b"\x00\x05\x16\x07")
    assert load("experiment=smoke", config_dir=copied_configs)
    with pytest.raises(BadInput, match="draft.yaml: not UTF-8"):
        load("experiment=draft", config_dir=copied_configs)


def test_what_must_be_given_is_named():
    with pytest.raises(BadInput, match="data.path: missing; give it, as data.path="):
        load("data=files")


def test_no_config_of_ours_needs_a_refusal():
    for path in CONFIG_DIR.rglob("*.yaml"):
        check_yaml(path)
        assert path.read_text().startswith("#"), f"{path}: no head"
    assert not (CONFIG_DIR / "config.yaml").exists()


def test_paths_and_open_keys_are_taken_as_typed(tmp_path):
    (tmp_path / "root.yaml").write_text("where: {}\n")
    typed = ["out=a=b,c's", "where.lr=0.1", "where.n (M).x/y='x-y'", "where.z=null"]
    values = compose_config("root", typed, tmp_path, open_keys=("out",), map_keys=("where",))
    assert values == {"out": "a=b,c's", "where": {"lr": "0.1", "n (M).x/y": "x-y", "z": None}}


@pytest.mark.parametrize("path", ["é 文.txt", "a,b", "a(b)=c", "d's"])
@pytest.mark.parametrize("key", ["data.path", "init_from", "runtime.data_dir", "runtime.stage"])
@pytest.mark.parametrize("root", ["train", "sweep"])
def test_the_paths_of_a_trial_are_taken_as_typed(root, key, path):
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
def test_a_list_in_brackets_is_one_of_several_values(tmp_path, typed, value):
    (tmp_path / "root.yaml").write_text("where: {}\n")
    values = compose_config("root", [f"where.k={typed}"], tmp_path, map_keys=("where",))
    assert values == {"where": {"k": value}}


@dataclass(frozen=True)
class Leaf:
    count: int
    rate: float = 0.5
    name: str | None = None
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Tree:
    leaf: Leaf
    shape: tuple[int, ...] = ()
    anything: dict[str, float] | None = None


@dataclass(frozen=True)
class Forest:
    of: Leaf | Tree | Literal["none"] = "none"
    counts: int | tuple[int, ...] = 1


def test_a_field_of_several_kinds_takes_each_and_names_what_is_wrong():
    assert build(Forest, {"of": {"count": 1}}).of == Leaf(1)
    assert build(Forest, {"of": {"leaf": {"count": 1}}}).of == Tree(Leaf(1))
    assert build(Forest, {"of": "none", "counts": [1, 2]}) == Forest(counts=(1, 2))
    for values, said in (
        ({"of": {"leaf": {"count": "a"}}}, "of.leaf.count: found 'a'"),
        ({"of": 3}, "of: found 3 (int), expected a group of fields, or one of none"),
        ({"counts": [1, "a"]}, "counts[1]: found 'a'"),
        ({"counts": "a"}, "counts: found 'a' (str), expected a whole number, or a list"),
    ):
        with pytest.raises(BadInput) as error:
            build(Forest, values)
        assert said in str(error.value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
)


@settings(max_examples=300, deadline=None)
@given(values, values)
def test_any_value_is_converted_or_refused(one: Any, two: Any):
    for candidate in (one, {"leaf": one}, {"leaf": {"count": one, "rate": two}}, {"shape": two}):
        try:
            built = build(Tree, candidate)
        except BadInput as error:
            assert str(error)
        else:
            assert type(built.leaf.count) is int and type(built.leaf.rate) is float


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (BadInput("x: found 1,\nexpected 2"), ExitStatus.BAD_INPUT),
        (StopRequested("saved"), ExitStatus.STOPPED),
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED),
        (None, ExitStatus.DONE),
    ],
)
def test_every_end_has_its_status_and_one_line(end, status, capsys):
    def main(arguments):
        if end:
            raise end
        return ExitStatus.DONE

    assert run_entry(main, "train", "test", ["a=b"]) == status
    printed = capsys.readouterr().err
    assert printed.count("\n") <= 1
    if isinstance(end, BadInput):
        assert printed == "error: x: found 1, expected 2\n"


@pytest.mark.parametrize("argument", ["--hlep", "--config-dir"])
def test_a_wrong_option_is_one_line_too(argument, capsys):
    assert run_entry(lambda arguments: 0, "train", "test", [argument]) == ExitStatus.BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and argument in error


def test_a_reader_that_leaves_is_no_defect():
    code = "import sys; from configs.load import run_entry\n"
    code += "sys.exit(run_entry(lambda a: [print('x' * 99) for _ in range(9999)], 'train', '', []))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE
