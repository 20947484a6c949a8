"""Frozen dataclasses of results to JSON values, and the JSON schema that they are.

A field is written under its own name. One without a default always is, as null where it is None;
one declared `optional()` is left out where it is None; and of a refused law whatever is still at
its default is left out, since there are no numbers. The strict loader of configs reads them again:
a key that this version does not know is refused, since it would be lost.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from common.errors import BadInput
from configs.schema import build

_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True)
class ByName:
    """Annotates, and reads, a mapping of results whose types belong to their keys."""

    types: Callable[[], Mapping[str, type]]

    def __call__(self, values: Any, where: str) -> dict[str, Any]:
        """The results of JSON values. Raises BadInput."""
        kinds = self.types()
        if not isinstance(values, dict):
            raise BadInput(f"{where}: found {values!r:.60}, expected an object")
        if unknown := sorted(set(values) - set(kinds)):
            raise BadInput(f"{where}.{unknown[0]}: unknown; known: {', '.join(kinds)}")
        return {key: build(kinds[key], item, f"{where}.{key}") for key, item in values.items()}


def optional() -> Any:
    """A field that is left out of the JSON where it is None."""
    return field(default=None, metadata={"optional": True})


def to_json(value: Any) -> Any:
    """Plain JSON values of a result, of a part of it, or of a container of parts."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: to_json(part)
            for f in fields(value)
            if not _left_out(f, part := getattr(value, f.name), value)
        }
    if isinstance(value, Mapping):
        return {key: to_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    return value


def _left_out(f: "Field[Any]", value: Any, owner: Any) -> bool:
    if f.metadata.get("optional"):
        return value is None
    return getattr(owner, "status", None) == "refused" and value == _default(f)


def _default(f: "Field[Any]") -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name] for f in fields(cls)}


def json_schema(hint: Any) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a type of results."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _object_schema(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [json_schema(option) for option in arguments]}
    if origin is Annotated:
        kinds = {name: json_schema(kind) for name, kind in arguments[1].types().items()}
        return {"type": "object", "properties": kinds, "additionalProperties": False}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return {"type": "array", "items": json_schema(arguments[0])}
        items = [json_schema(item) for item in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": json_schema(arguments[1])}
    if hint is type(None):
        return {"type": "null"}
    return {"type": _SCALARS[hint]} if hint in _SCALARS else {}


def _object_schema(cls: Any) -> dict[str, Any]:
    hints, known = _hints(cls), fields(cls)
    must = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    found: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: json_schema(_not_none(hint) if f.metadata.get("optional") else hint)
            for (name, hint), f in zip(hints.items(), known, strict=True)
        },
        "required": must,
        "additionalProperties": False,
    }
    numbers = [f.name for f in known if not f.metadata.get("optional") and f.name not in must]
    if "status" in hints and numbers:
        refused = {"properties": {"status": {"const": "refused"}}}
        found |= {"if": refused, "else": {"required": numbers}}
    elif numbers:
        found["required"] = must + numbers
    return found


def _not_none(hint: Any) -> Any:
    return Union[tuple(o for o in get_args(hint) if o is not type(None))]  # noqa: UP007
