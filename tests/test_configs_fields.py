"""Every field of a command can be typed, is explained in a line, and stands in its --help."""

from dataclasses import MISSING, dataclass
from typing import Any, Literal

import pytest

import data.prepare.__main__ as prepare
import fit
from common.errors import BadInput
from configs.fields import Field, fields_of
from configs.groups import root_values
from configs.help import help_of, help_of_words
from configs.load import compose_config
from configs.overrides import Keys, as_list
from scaling.run.command import KEYS as SWEEP_KEYS
from training import sample
from training.trial.command import KEYS as TRAIN_KEYS
from training.zero_shot import __main__ as zero_shot

ROOTS = {
    "train": (TRAIN_KEYS, ["experiment=smoke"]),
    "sweep": (SWEEP_KEYS, ["experiment=smoke", "launcher=slurm", "grid=[smoke,horizons,scout]"]),
    "fit": (fit.KEYS, ["runs=x"]),
    "prepare": (prepare.KEYS, []),
}


@dataclass(frozen=True)
class Leaf:
    """A leaf.

    count, size  how many,
                 on two lines; and more
    """

    count: int
    size: float | None = 1.0


@dataclass(frozen=True)
class Tree:
    leaf: Leaf | None = None
    law: str | Leaf = "x"
    kind: Literal["a", "b"] | None = None
    names: tuple[str, ...] = ()
    own: dict[str, float] | None = None


def test_fields_of_finds_every_field_with_its_text():
    fields = fields_of({"": Tree, "other": Leaf})
    assert list(fields)[:5] == ["leaf", "leaf.count", "leaf.size", "law", "law.count"]
    assert fields["leaf.count"].about == "how many, on two lines; and more"
    assert fields["leaf"].is_group and not fields["law"].is_group and "other.size" in fields
    assert fields["kind"].choices == ("a", "b") and fields["kind"].optional
    assert fields["names"].is_list and fields["own"].is_open
    assert fields["leaf.count"].default is MISSING and fields["leaf.size"].default == 1.0


def written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    return {True: "true", False: "false", None: "null"}.get(value, str(value) or "''")


def at(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values[part] if isinstance(values, dict) and part in values else MISSING
    return values


@pytest.mark.parametrize("plus", ["", "+"])
@pytest.mark.parametrize("root", ROOTS)
def test_every_field_may_be_typed_and_arrives(root, plus):
    """Typed with the value that it has, and with its default where no file lists it."""
    keys, chosen = ROOTS[root]
    before = compose_config(root, chosen, keys=keys)
    typed: dict[str, Any] = {}
    for field in keys.fields.values():
        parent = field.name.rpartition(".")[0]
        if field.is_group or field.is_open or (parent and not isinstance(at(before, parent), dict)):
            continue
        value = at(before, field.name)
        value = field.default if value is MISSING else value
        if value is not MISSING:
            typed[field.name] = value
    assert len(typed) > 0.8 * sum(not field.is_group for field in keys.fields.values()) or (
        root in ("sweep", "prepare") and len(typed) > 6
    )
    words = [f"{plus}{name}={written(value)}" for name, value in typed.items()]
    after = compose_config(root, [*chosen, *words], keys=keys)
    for name, value in typed.items():
        assert at(after, name) == (list(value) if isinstance(value, tuple) else value), name


@pytest.mark.parametrize("root", ROOTS)
def test_help_has_one_line_for_each_field(root):
    keys, _ = ROOTS[root]
    lines = help_of("python x.py", "What it does.", keys, root).splitlines()
    for field in keys.fields.values():
        if field.is_group or (root == "sweep" and field.name.startswith("fit.")):
            continue
        found = [line for line in lines if line.startswith(f"  {field.name}=")]
        assert len(found) == 1, field.name
        assert field.about, f"{field.name}: its class's docstring does not say what it is for"
    heads = {line.split("=")[0].strip().split(".")[0] for line in lines if line.startswith("  ")}
    assert heads <= {*keys.fields, "experiment", "fit"}, "nothing of other commands"


@pytest.mark.parametrize("words", [sample.Words, zero_shot.Words])
def test_help_of_words_has_one_line_for_each_field(words):
    lines = help_of_words("", words).splitlines()
    for field in fields_of({"": words}).values():
        assert sum(line.startswith(f"  {field.name}=") for line in lines) == 1 and field.about


def test_help_shows_the_defaults_of_the_files():
    values, chosen = root_values("sweep")
    assert chosen["model"] == "gpt2_124m" and chosen["grid"] is None
    assert values["model"]["n_layer"] == 12 and values["optimizer"]["name"] == "adamw"
    assert values["launcher"]["kind"] == "local" and values["launcher"]["slurm"]["requeues"] == 50


PAIRS = fields_of({"": fit.FitConfig})


@pytest.mark.parametrize(
    ("name", "typed", "text"),
    [
        ("predict.flops", "1e20", "[1e20]"),
        ("predict.flops", "1e20,1e21", "[1e20,1e21]"),
        ("predict.flops", "[1e20]", "[1e20]"),
        ("predict.tokens", "[10,100]", "[10,100]"),
        ("predict.tokens", "10,100", "[10,100]"),
        ("predict.flops", "null", "null"),
        ("predict.pairs", "[1e9,2e10]", "[[1e9,2e10]]"),
        ("predict.pairs", "[[1e9,2e10]]", "[[1e9,2e10]]"),
        ("laws", "parametric", "[parametric]"),
        ("exclude", "x", "[x]"),
        ("seed", "1", "1"),
        ("holdout", "top", "top"),
    ],
)
def test_one_value_is_taken_for_a_list_of_one(name, typed, text):
    assert as_list(PAIRS[name], typed) == text


def test_one_value_for_a_list_reaches_the_config():
    words = ["runs=x", "laws=parametric", "predict.flops=1e20", "exclude=a", "require=kaplan"]
    values = compose_config("fit", words, keys=fit.KEYS)
    assert values["laws"] == ["parametric"] and values["predict"]["flops"] == [1e20]
    assert values["exclude"] == ["a"] and values["require"] == ["kaplan"]


@pytest.mark.parametrize(
    "typed",
    ["data.hub.name=x", "+launcher.slurm.gpus=8", "grid.scout.span=8"],
)
def test_a_field_of_a_part_that_is_not_chosen_names_the_choice(typed):
    with pytest.raises(BadInput, match="choose it by (data|launcher|grid)="):
        compose_config("sweep", ["experiment=smoke", typed], keys=SWEEP_KEYS)


def test_fields_without_a_shape_are_left_to_the_files(tmp_path):
    (tmp_path / "root.yaml").write_text("a: 1\n")
    assert compose_config("root", ["a=2"], tmp_path) == {"a": 2}
    with pytest.raises(BadInput, match="b: unknown key"):
        compose_config("root", ["b=2"], tmp_path)
    with pytest.raises(BadInput, match="c: unknown key; known: leaf, law, kind, names, own"):
        compose_config("root", ["c=2"], tmp_path, Keys({"": Tree}))


def test_choices_are_none_where_other_values_are_taken():
    holdout: Field = PAIRS["holdout"]
    assert holdout.choices == () and PAIRS["reduce"].choices == ("none", "best")
