"""Words as key=value: literal text, YAML for the rest, one line for what cannot be read."""

from dataclasses import dataclass
from typing import Literal

import pytest

from common.errors import BadInput
from configs.key_value import read_key_values


@dataclass(frozen=True)
class Command:
    path: str
    tasks: tuple[Literal["a", "b"], ...] = ("a",)
    count: int | None = None
    name: str | None = None


def test_read_key_values_takes_text_literally_and_the_rest_as_yaml():
    words = ["path=/x/a=b,[c]: 010", "tasks=[a,b]", "count=3", "name=12"]
    assert read_key_values(words, Command) == Command("/x/a=b,[c]: 010", ("a", "b"), 3, "12")


@pytest.mark.parametrize("words, complaint", [
    ([], "path: missing"),
    (["export"], "'export': found no '=', expected key=value"),
    (["path=x", "task=[a]"], "task: unknown key; did you mean tasks"),
    (["path=x", "path=y"], "path: found twice"),
    (["path=x", "tasks=[c]"], "tasks"),
    (["path=x", "tasks=[a"], "tasks: .* cannot be read"),
    (["path=x", "count=many"], "count: found 'many'"),
])  # fmt: skip
def test_read_key_values_refuses_each_mistake_in_one_line(words, complaint):
    with pytest.raises(BadInput, match=f"^{complaint}") as caught:
        read_key_values(words, Command)
    assert "\n" not in str(caught.value)
