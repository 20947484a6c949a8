"""The fields of frozen dataclasses by their dotted names: what may be typed, and what each is.

What a field is for stands in its class's docstring, as a table: the name, two spaces or more, and
the text, whose further lines are indented.
"""

import inspect
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

_ENTRY = re.compile(r"(\w+(?:, \w+)*) {2,}(\S.*)")


@dataclass(frozen=True)
class Field:
    """A field that may be typed.

    name      dotted, as optimizer.lr
    hint      its type, less None
    default   of the dataclass; dataclasses.MISSING where there is none
    about     one line
    group     the dataclass that it holds, if it is a group of fields
    optional  null is a value
    """

    name: str
    hint: Any
    default: Any
    about: str
    group: type | None
    optional: bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it takes, where it takes no others."""
        parts = [part for part in options(self.hint) if get_origin(part) is Literal]
        others = len(options(self.hint)) > len(parts)
        return () if others else tuple(str(v) for part in parts for v in get_args(part))

    @property
    def is_list(self) -> bool:
        """Whether it takes a list of any length, and nothing else."""
        return get_origin(self.hint) is tuple and get_args(self.hint)[-1] is Ellipsis

    @property
    def takes_lists(self) -> bool:
        """Whether a list is among the values that it takes."""
        return any(get_origin(part) is tuple for part in options(self.hint))

    @property
    def is_group(self) -> bool:
        """Whether it is a group of fields, and takes nothing else."""
        return self.group is not None and options(self.hint) == (self.group,)

    @property
    def is_text(self) -> bool:
        """Whether it takes any text and nothing else."""
        return options(self.hint) == (str,)

    @property
    def is_list_of_text(self) -> bool:
        """Whether its lists are of any text."""
        return any(get_args(part) == (str, Ellipsis) for part in options(self.hint))

    @property
    def is_number(self) -> bool:
        """Whether it takes a number, and no list."""
        parts = options(self.hint)
        return bool({int, float} & set(parts)) and not any(get_origin(p) is tuple for p in parts)

    @property
    def is_open(self) -> bool:
        """Whether what follows its name is a key of the user's own, as units.tokens."""
        return any(get_origin(part) in (dict, Mapping) for part in options(self.hint))


def fields_of(shape: Mapping[str, type | tuple[type, ...]]) -> dict[str, Field]:
    """Every field below the groups of `shape`, those of the group "" at the root.

    A group comes before its own fields.
    """
    found: dict[str, Field] = {}
    for group, classes in shape.items():
        for cls in classes if isinstance(classes, tuple) else (classes,):
            if group:
                found[group] = Field(group, cls, MISSING, summary(cls), cls, True)
            found |= {field.name: field for field in _walk(cls, f"{group}." if group else "")}
    return found


def _walk(cls: type, prefix: str) -> Iterator[Field]:
    hints, about = get_type_hints(cls, include_extras=True), _about(cls)
    for field in fields(cls):
        hint, name = hints[field.name], f"{prefix}{field.name}"
        parts = options(hint)
        group = next((part for part in parts if is_dataclass(part)), None)
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        bare = Union[parts] if len(parts) > 1 else parts[0]  # noqa: UP007
        text = about.get(field.name) or (summary(group) if isinstance(group, type) else "")
        group = group if isinstance(group, type) else None
        is_optional = type(None) in get_args(hint)
        yield Field(name, bare, default, text, group, is_optional)
        if group is not None:
            yield from _walk(group, f"{name}.")


def options(hint: Any) -> tuple[Any, ...]:
    """The types of which a value may be, but None."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(o for part in get_args(hint) if part is not type(None) for o in options(part))
    return options(get_args(hint)[0]) if get_origin(hint) is Annotated else (hint,)


def summary(cls: type) -> str:
    """The first sentence of a class's docstring, without its end."""
    return re.split(r"[.:;]( |$)", inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0])[0]


@cache
def _about(cls: type) -> dict[str, str]:
    """What the table in the docstring says of each field, each on one line."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
        if entry := _ENTRY.fullmatch(line):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif names and line.startswith("  "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        else:
            names = []
    return found


def in_words(hint: Any) -> str:
    """What a type takes, in a word or two."""
    return "|".join(dict.fromkeys(map(_in_words, options(hint))))


def _in_words(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin is tuple:
        one = in_words(arguments[0])
        return f"[{one},...]" if arguments[-1] is Ellipsis else f"[{','.join([one] * 2)}]"
    names = {bool: "true|false", str: "text", int: "whole number", float: "number"}
    return names.get(hint, "fields" if is_dataclass(hint) else "key=value")
