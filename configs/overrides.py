"""What was typed as key=value, made ready for Hydra's grammar, and what that grammar cannot say."""

import re
from collections.abc import Sequence
from typing import Any

from configs.errors import BadInput

_ITEM = re.compile(r"""\s*('[^']*'|"[^"]*"|[^,]*?)\s*(?:,|$)""")


def for_hydra(
    overrides: Sequence[str],
    open_keys: Sequence[str],
    path_keys: Sequence[str],
    map_keys: Sequence[str],
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Overrides for Hydra, and the values of `map_keys`; see `compose_config`. Raises BadInput."""
    maps: dict[str, dict[str, Any]] = {}
    lines = []
    for override in overrides:
        group, dot, rest = override.partition(".")
        if group in map_keys and dot and "=" in rest:
            name, _, value = rest.partition("=")
            maps.setdefault(group, {})[name] = _value(value)
        else:
            lines.append(_quote(override, open_keys, path_keys))
    return lines, maps


def _value(text: str) -> str | None | list[str | None]:
    """Text as typed, null, or a list of them in brackets."""
    if text[:1] == "[" and text[-1:] == "]":
        return [_scalar(item) for item in _ITEM.findall(text[1:-1]) if item]
    return _scalar(text)


def _scalar(text: str) -> str | None:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return None if text == "null" else text


def _quote(override: str, open_keys: Sequence[str], path_keys: Sequence[str]) -> str:
    key, equals, value = override.partition("=")
    if not equals and not override.startswith("~"):
        raise BadInput(f"{override!r}: found no '=', expected key=value")
    if key in path_keys and value and value[0] not in "['\"" and value != "null":
        value = "'" + value.replace("'", "\\'") + "'"
    if key.split(".")[0] in open_keys:
        key = "++" + key
    return key + equals + value
