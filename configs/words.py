"""Command lines of plain key=value words, for commands that compose no config."""

import dataclasses
import difflib
import types
from collections.abc import Sequence
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from configs.errors import BadInput
from configs.load import build

T = TypeVar("T")


def read_words(words: Sequence[str], into: type[T]) -> T:
    """The dataclass `into` from words as key=value.

    A field of text takes the word's rest literally, `=`, commas and all; others are YAML, as
    tasks=[a,b]. Raises BadInput for an unknown or repeated key, a missing one or a wrong value.
    """
    hints = get_type_hints(into)
    names = [field.name for field in dataclasses.fields(into)]  # type: ignore[arg-type]
    values = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise BadInput(f"{word}: found no key, expected key=value with {' or '.join(names)}")
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(names)}"
            raise BadInput(f"{key}: unknown key; {hint}")
        if key in values:
            raise BadInput(f"{key}: found twice, expected once")
        values[key] = text if _is_text(hints[key]) else _parse(key, text)
    return build(into, values)


def _is_text(hint: object) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return all(_is_text(part) or part is type(None) for part in get_args(hint))
    return hint is str


def _parse(key: str, text: str) -> object:
    try:
        return OmegaConf.to_container(OmegaConf.create(f"value: {text}"))["value"]  # type: ignore
    except (OmegaConfBaseException, YAMLError) as error:
        raise BadInput(f"{key}: {text!r} cannot be read: {str(error).splitlines()[0]}") from None
