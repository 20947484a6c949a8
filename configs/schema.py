"""A frozen dataclass from plain containers, strictly: an unknown key is refused everywhere."""

import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from math import isfinite
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from common.errors import BadInput
from configs.suggest import cure, one_of

T = TypeVar("T")
_COUNT = re.compile(r"(\d+(?:\.\d+)?) ?([kKMBGT])")


def build(cls: type[T], values: Any, where: str = "") -> T:
    """A frozen dataclass from plain containers; BadInput names field, value and what was expected.

    Every field of `cls` without a default must be there, and nothing else. Whole floats (3e8) are
    accepted for int; text is never read as a number.
    """
    if not isinstance(values, Mapping):
        dot = f"{where}." if where else ""
        inside = ", ".join(f"{dot}{name}" for name in _fields(cls))  # type: ignore[arg-type]
        found = f"{where or cls.__name__}: found {values!r}"
        raise BadInput(f"{found}, expected a group of fields: {inside}")
    known = _fields(cls)  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in known:
            name, names = f"{prefix}{key}", [f"{prefix}{name}" for name in known]
            raise BadInput(f"{name}: unknown key; {cure(name, names)}")
    arguments = {}
    for name, (hint, has_default, as_it_is) in known.items():
        if name in values:
            value, kind = values[name], type(values[name])
            plain = kind in as_it_is and (kind is not float or isfinite(value))
            arguments[name] = value if plain else _convert(hint, value, prefix + name)
        elif not has_default:
            raise BadInput(f"{prefix}{name}: missing; it has no default")
    return cls(**arguments)


@cache
def _fields(cls: Any) -> dict[str, tuple[Any, bool, frozenset[type]]]:
    """Type, whether there is a default, and the types of values that are taken as they are.

    Found once, since a plan has thousands of trials and a sweep as many records.
    """
    hints, none = get_type_hints(cls, include_extras=True), (MISSING, MISSING)
    return {
        f.name: (hints[f.name], (f.default, f.default_factory) != none, _as_it_is(hints[f.name]))
        for f in fields(cls)
    }


def _as_it_is(hint: Any) -> frozenset[type]:
    """For a scalar, or one that may be None, its very type: most values need no conversion."""
    options = set(get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,))
    scalars = options - {type(None)}
    return frozenset(options if len(scalars) == 1 and scalars <= {int, float, str, bool} else ())


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint in (int, float, str, bool):
        return _scalar(hint, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:  # by a reader of its own
        return arguments[1](value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        if len(options) == 1:
            return _convert(options[0], value, where)
        within: BadInput | None = None
        for option in options:
            try:
                return _convert(option, value, where)
            except BadInput as error:
                # Of a list or a group the refusal says which part is wrong.
                is_list = get_origin(option) is tuple and isinstance(value, list | tuple)
                if is_list or (is_dataclass(option) and isinstance(value, Mapping)):
                    within = error
        raise within or _refusal(where, value, ", or ".join(dict.fromkeys(map(_expected, options))))
    if origin is Literal:
        if type(value) is not bool and value in arguments:
            return value
        raise _refusal(where, value, one_of(value, map(str, arguments)))
    if is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _refusal(where, value, f"a list, as [{value}]")
        if arguments[-1] is not Ellipsis and len(arguments) != len(value):
            raise _refusal(where, value, _expected(hint))
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(
            _convert(kind, item, f"{where}[{index}]")
            for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _refusal(where, value, f"one entry or more, as {where}.NAME=VALUE")
        return {str(k): _convert(arguments[1], item, f"{where}.{k}") for k, item in value.items()}
    return _scalar(hint, value, where)


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        return value
    if hint in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise _refusal(where, value, "a finite number")
        if hint is float:
            return float(value)
        if value == int(value):
            return int(value)
        raise _refusal(where, value, "a whole number")
    raise _refusal(where, value, _expected(hint))


def _expected(hint: Any) -> str:
    """What a type accepts, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"{len(arguments)} values"
    names = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}
    return names.get(hint, "a group of fields" if is_dataclass(hint) else "a mapping")


def _refusal(where: str, value: Any, expected: str) -> BadInput:
    hint = ""
    if isinstance(value, str) and (number := _COUNT.fullmatch(value)) and "number" in expected:
        power = {"k": 3, "M": 6, "B": 9, "G": 9, "T": 12}[number[2].replace("K", "k")]
        hint = f"; type {number[1]}e{power}"
    elif isinstance(value, str) and "number" in expected:
        hint = "; numbers stand without quotes, as 3e18 or 0.001"
    elif expected == "text" and value is not None:
        hint = "; quote it"
    return BadInput(f"{where}: found {value!r} ({type(value).__name__}), expected {expected}{hint}")
