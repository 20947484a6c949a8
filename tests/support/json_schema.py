"""Checks JSON values against the schemas of results: the keywords that these use, no others."""

from functools import cache
from typing import Any

from scaling.fit.results import FitDocument
from scaling.fit.results.json_form import json_schema

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "number": (int, float),
    "integer": int,
    "null": type(None),
}


def problems(value: Any, kind: Any = FitDocument) -> list[str]:
    """Where `value` departs from the schema of a type of results; nothing if it does not."""
    return list(_problems(value, _schema(kind), kind.__name__))


_schema = cache(json_schema)


def _problems(value: Any, schema: dict[str, Any], place: str) -> list[str]:
    found: list[str] = []
    if "anyOf" in schema:
        tried = [_problems(value, option, place) for option in schema["anyOf"]]
        return min(tried, key=len)
    if "enum" in schema and value not in schema["enum"]:
        return [f"{place}: {value!r} is none of {schema['enum']}"]
    if "type" in schema:
        right = isinstance(value, TYPES[schema["type"]])
        if not right or (isinstance(value, bool) and schema["type"] != "boolean"):
            return [f"{place}: {value!r} is no {schema['type']}"]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        refused = "if" in schema and value.get("status") == "refused"
        required = schema.get("required", []) + ([] if refused else _else(schema))
        found += [f"{place}.{key}: missing" for key in required if key not in value]
        for key, item in value.items():
            part = known.get(key, others)
            if part is False:
                found.append(f"{place}.{key}: unknown")
            else:
                found += _problems(item, part, f"{place}.{key}")
    if isinstance(value, list):
        first = schema.get("prefixItems")
        if first is not None and len(value) != len(first):
            return [f"{place}: {value!r} has not {len(first)} items"]
        parts = first or [schema.get("items", {})] * len(value)
        for index, (item, part) in enumerate(zip(value, parts, strict=True)):
            found += _problems(item, part, f"{place}[{index}]")
    return found


def _else(schema: dict[str, Any]) -> list[str]:
    return list(schema.get("else", {}).get("required", []))
