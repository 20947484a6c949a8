"""Command lines of plain key=value words, for commands that compose no config."""

import types
from collections.abc import Sequence
from typing import TypeVar, Union, get_args, get_origin

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from common.errors import BadInput
from configs.fields import fields_of
from configs.overrides import as_list
from configs.schema import build
from configs.suggest import cure
from configs.typed_words import bare_word, refuse_slips

T = TypeVar("T")


def read_key_values(words: Sequence[str], into: type[T]) -> T:
    """The dataclass `into` from words as key=value.

    A field of text takes the word's rest literally, `=`, commas and all; others are YAML, as
    tasks=[a,b]; one of a list needs no brackets. Raises BadInput for an unknown or repeated key, a
    missing one or a wrong value.
    """
    fields = fields_of({"": into})
    refuse_slips(words, fields)
    values: dict[str, object] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise BadInput(bare_word(word, fields, None))
        if key not in fields:
            about = {name: field.about for name, field in fields.items()}
            raise BadInput(f"{key}: unknown key; {cure(key, list(fields), about)}")
        if key in values:
            raise BadInput(f"{key}: found twice, expected once")
        is_text = _is_text(fields[key].hint)
        values[key] = text if is_text else _parse(key, as_list(fields[key], text))
    return build(into, values)


def _is_text(hint: object) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return all(_is_text(part) for part in get_args(hint))
    return hint is str


def _parse(key: str, text: str) -> object:
    try:
        return OmegaConf.to_container(OmegaConf.create(f"value: {text}"))["value"]  # type: ignore
    except (OmegaConfBaseException, YAMLError) as error:
        raise BadInput(f"{key}: {text!r} cannot be read: {str(error).splitlines()[0]}") from None
