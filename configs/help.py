"""What --help says: a command's own fields, one line each, from the dataclasses that take them."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from configs.fields import Field, fields_of, in_words
from configs.groups import listed_files, root_values, swept_experiments
from configs.overrides import Keys

# Options of the commands that compose a config, with what follows them.
OPTIONS = {
    "--config-dir": "the only folder searched for configs",
    "--config-name": "the root config in it",
    "--debug": "show tracebacks of input errors",
}
_LONGEST = 64  # columns of what is said of a field; beside its name a line has 100


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether help is asked for, in whatever place."""
    return "-h" in words or "--help" in words


def help_of(prog: str, description: str, keys: Keys, root: str) -> str:
    """Usage, description, and every field of a command that composes `root`.yaml."""
    values, chosen = root_values(root)
    lines = [f"usage: {prog} [key=value ...] [{'] ['.join(OPTIONS)}] [-h]", "", description.strip()]
    fields = list(keys.fields.values())
    lines += ["", "fields, as key=default:"]
    if len(chosen) > 1:  # more than an experiment: one of these chooses the rest
        names = swept_experiments() if root == "sweep" else listed_files("experiment")
        lines.append(f"  experiment={'|'.join(names)}")
    lines += _lines((field for field in fields if "." not in field.name), values)
    for field in fields:
        if field.group is None or "." in field.name:
            continue
        files = listed_files(field.name)
        choice = f": {field.name}={chosen.get(field.name) or 'null'} ({', '.join(files)})"
        lines += ["", f"{field.name}{choice if files else ''}; {field.about}"]
        if field.name == "fit":
            lines.append("  fit.*  any field of fit.py: python fit.py --help")
            continue
        lines += _lines((f for f in fields if f.name.startswith(f"{field.name}.")), values)
    lines += ["", *(f"{name:<16}{about}" for name, about in OPTIONS.items())]
    return "\n".join(lines)


def help_of_words(doc: str, cls: type) -> str:
    """The head of a module and the fields of the dataclass that reads its words."""
    fields = fields_of({"": cls}).values()
    return "\n".join([doc.strip(), "", "fields, as key=default:", *_lines(fields, {})])


def _lines(fields: Iterable[Field], values: Mapping[str, Any]) -> list[str]:
    """A line for each field that takes a value of its own, not for a group of fields."""
    lines = []
    for field in fields:
        if field.is_group:
            continue
        default = _at(values, field.name, field.default)
        text = "..." if default is MISSING else _written(default)
        kind = in_words(field.hint)
        about = f"{kind}: {_shortened(field.about)}" if field.about else kind
        lines.append(f"  {f'{field.name}={text}':<34} {about}")
    return lines


def _shortened(text: str) -> str:
    """The first clauses of a text, as many as stand on a line."""
    kept, *others = re.split(r"(?<=[;.]) ", text)
    for part in others:
        if len(kept) + len(part) >= _LONGEST:
            break
        kept += f" {part}"
    return textwrap.shorten(kept.rstrip(";."), _LONGEST, placeholder=" ...")


def _written(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_written(v)}" for k, v in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _at(values: Mapping[str, Any], name: str, default: Any) -> Any:
    found: Any = values
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return default
        found = found[part]
    return found
