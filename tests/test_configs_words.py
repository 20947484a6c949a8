"""Words as key=value: literal text, YAML for the rest, one line for what cannot be read."""

from dataclasses import dataclass
from typing import Literal

import pytest

from configs.errors import BadInput
from configs.words import read_words


@dataclass(frozen=True)
class Command:
    path: str
    tasks: tuple[Literal["a", "b"], ...] = ("a",)
    count: int | None = None
    name: str | None = None


def test_text_is_literal_and_the_rest_is_yaml():
    words = ["path=/x/a=b,[c]: 010", "tasks=[a,b]", "count=3", "name=12"]
    assert read_words(words, Command) == Command("/x/a=b,[c]: 010", ("a", "b"), 3, "12")


@pytest.mark.parametrize("words, complaint", [
    ([], "path: missing"),
    (["export"], "export: found no key, expected key=value"),
    (["path=x", "task=[a]"], "task: unknown key; did you mean tasks"),
    (["path=x", "path=y"], "path: found twice"),
    (["path=x", "tasks=[c]"], "tasks"),
    (["path=x", "tasks=[a"], "tasks: .* cannot be read"),
    (["path=x", "count=many"], "count: found 'many'"),
])  # fmt: skip
def test_each_mistake_is_one_line(words, complaint):
    with pytest.raises(BadInput, match=f"^{complaint}") as caught:
        read_words(words, Command)
    assert "\n" not in str(caught.value)
