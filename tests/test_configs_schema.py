"""A dataclass from plain containers: each type takes its values and refuses the others by name."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BadInput
from configs.schema import build


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


def test_build_takes_each_kind_of_a_union():
    """A field of several kinds takes each and names what is wrong."""
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


@settings(max_examples=300)
@given(values, values)
def test_build_converts_or_refuses_any_value(one: Any, two: Any):
    for candidate in (one, {"leaf": one}, {"leaf": {"count": one, "rate": two}}, {"shape": two}):
        try:
            built = build(Tree, candidate)
        except BadInput as error:
            assert str(error)
        else:
            assert type(built.leaf.count) is int and type(built.leaf.rate) is float
