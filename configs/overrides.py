"""What was typed as key=value, made ready for Hydra's grammar, and what that grammar cannot say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_origin

from common.errors import BadInput
from configs.fields import Field, fields_of
from configs.suggest import cure
from configs.typed_words import bare_word, key_twice

# Fields of a trial and of its commands that name a file or a folder.
TRIAL_PATHS = ("out", "data.path", "init_from", "runtime.data_dir", "runtime.stage")
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
_ITEM = re.compile(r"""\s*('[^']*'|"[^"]*"|[^,]*?)\s*(?:,|$)""")


@dataclass(frozen=True)
class Keys:
    """The keys of a command, and those that Hydra's grammar and its struct check cannot serve.

    shape  the dataclasses whose fields may be typed, whether a file lists them or not: those of
           the root under "", others under their group; empty: what the files have
    open   may be given though no file has them
    paths  hold a file or a folder, taken literally, `=` and commas included
    maps   what follows `where.` for ("where",) is a name of the user's, with any dots and spaces,
           and its value is text as typed, null, or a list of them in brackets; quotes keep
           brackets, commas and null as text
    notes  what to know of a field before it is typed, where a message names it
    partly the files may have more than the shape, outside of its groups
    once   a key with two values is refused, of which one would be dropped in silence
    """

    shape: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    open: tuple[str, ...] = ()
    paths: tuple[str, ...] = TRIAL_PATHS
    maps: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    partly: bool = False
    once: bool = True

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Every field of the shape by its dotted name."""
        return fields_of(self.shape)


TRIAL_KEYS = Keys(once=False)  # of code that composes a trial, its own overrides last


def key_of(override: str) -> str:
    """The key of an override without what adds or removes it in Hydra's grammar."""
    return override.lstrip("+~").partition("=")[0]


def for_hydra(
    overrides: Sequence[str], keys: Keys, config_dir: Path
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Overrides for Hydra, and the values of `keys.maps`.

    Raises BadInput for what is no key=value, and for a key that is none of the command's.
    """
    maps: dict[str, dict[str, Any]] = {}
    lines = []
    if keys.once:
        _refuse_repeats(overrides, keys)
    there = {str(path.relative_to(config_dir)) for path in config_dir.rglob("*") if path.is_dir()}
    is_whole = keys.shape and not keys.partly
    groups = there & {*keys.fields, "experiment"} if is_whole else there
    for override in overrides:
        group, dot, rest = override.partition(".")
        if group in keys.maps and dot and "=" in rest:
            name, _, value = rest.partition("=")
            maps.setdefault(group, {})[name] = _value(value)
        elif "=" not in override and not override.startswith("~"):
            raise BadInput(bare_word(override, keys.fields, config_dir))
        else:
            if is_whole_mapping(override, keys):  # else the entries of files would stay
                lines.append(f"++{key_of(override)}=null")
            lines.append(_line(override, keys, groups))
    return lines, maps


def _refuse_repeats(overrides: Sequence[str], keys: Keys) -> None:
    """BadInput for a key that is typed twice, with both values in one list where it takes one."""
    typed: dict[str, str] = {}
    for override in overrides:
        key, value = key_of(override), override.partition("=")[2]
        if "=" in override and (first := typed.get(key, value)) != value:
            known = keys.fields.get(key)
            takes_lists = (known is not None and known.takes_lists) or key.startswith("where.")
            both = ",".join(
                text.strip().removeprefix("[").removesuffix("]") for text in (first, value)
            )
            cure = f"give both at once, as '{key}=[{both}]'" if takes_lists else "keep one of them"
            raise BadInput(f"{key}: found twice, {first} and {value}; {cure}")
        typed[key] = value
        if twice := key_twice(value):
            raise BadInput(f"{key}: found {twice} twice in {value}; keep one of them")
    for whole in (key_of(override) for override in overrides if is_whole_mapping(override, keys)):
        if below := [key for key in typed if key.startswith(f"{whole}.")]:
            raise BadInput(
                f"{whole}: found beside {below[0]}, and as a whole it replaces all that is below; "
                f"give all at once, in {whole}"
            )


def is_whole_mapping(override: str, keys: Keys) -> bool:
    """Whether all entries of a mapping of the user's own are typed, as grid.arms={...}."""
    name, value = key_of(override), override.partition("=")[2]
    known = keys.fields.get(name)
    is_mapping = (known is not None and known.is_open) or _is_of_the_user(name, keys)
    return is_mapping and value.lstrip()[:1] == "{" and name.partition(".")[0] not in keys.maps


def _value(text: str) -> str | None | list[str | None]:
    """Text as typed, null, or a list of them in brackets."""
    if text[:1] == "[" and text[-1:] == "]":
        return [_scalar(item) for item in _ITEM.findall(text[1:-1]) if item]
    return _scalar(text)


def _scalar(text: str) -> str | None:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]:
        return text[1:-1]
    return None if text == "null" else text


def _line(override: str, keys: Keys, groups: set[str]) -> str:
    """One override in Hydra's grammar; a field that no file lists is added."""
    key, equals, value = override.partition("=")
    name = key_of(key)
    head, known = name.split(".")[0], keys.fields.get(name)
    is_group = name.partition("@")[0] in groups
    is_typed = known is not None or head in keys.open or _is_of_the_user(name, keys)
    if known is not None and known.is_number and _THOUSANDS.fullmatch(value):
        raise BadInput(f"{name}: found {value}, expected {value.replace(',', '')}: no separators")
    is_text = name in keys.paths or (known is not None and known.is_text)
    if is_text and value and value[0] not in "['\"" and value != "null" and "${" not in value:
        value = _quoted(value)
    elif known is not None:
        value = _quoted_items(known, as_list(known, value))
    is_left_to_hydra = not keys.shape or (keys.partly and head not in keys.fields)
    if not (is_typed or is_group or is_left_to_hydra):
        names = [*keys.fields, *sorted(groups - set(keys.fields))]
        about = {field.name: field.about for field in keys.fields.values()}
        raise BadInput(f"{name}: unknown key; {cure(name, names, about, keys.notes)}")
    if is_group and keys.shape and key[:1] == "+":
        key = name
    elif is_typed and not is_group and key[:1] != "~":
        key = "++" + name
    return key + equals + value


def _quoted(text: str) -> str:
    """A text that Hydra's grammar takes as it is."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    end = len(escaped) - len(escaped.rstrip("\\"))  # one before the closing quote would escape it
    return f"'{escaped}{end * chr(92)}'"


def _quoted_items(known: Field, text: str) -> str:
    """A list with its items quoted, where they are texts: a sign, a number and `=` are text there.

    What is quoted already, within another list, or an interpolation is left to Hydra's grammar.
    """
    plain = text.strip()
    is_list = plain[:1] == "[" and plain[-1:] == "]" and not set("[]{}$'\"\\") & set(plain[1:-1])
    if not (is_list and known.is_list_of_text):
        return text
    items = [item.strip() for item in plain[1:-1].split(",") if item.strip()]
    return f"[{','.join(item if item == 'null' else _quoted(item) for item in items)}]"


def _is_of_the_user(name: str, keys: Keys) -> bool:
    """Whether a key is one of the user's own below a field that takes any, as units.tokens."""
    parts = name.split(".")
    above = (".".join(parts[:count]) for count in range(1, len(parts)))
    return any(keys.fields[part].is_open for part in above if part in keys.fields)


def as_list(known: Field, text: str) -> str:
    """The text of a value, in brackets where the field takes a list and one of it was typed."""
    plain = text.strip()
    is_of_lists = known.is_list and get_origin(get_args(known.hint)[0]) is tuple
    if not plain or plain == "null" or "${" in plain:
        return text
    if is_of_lists and plain[0] == "[" and plain[1:].lstrip()[:1] not in ("[", "]"):
        return f"[{text}]"
    is_listed = plain[0] in "[{'\"" or not known.takes_lists
    return text if is_listed or not (known.is_list or "," in plain) else f"[{text}]"
