"""Words that a shell or a habit made of key=value, each with what to type instead."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from common.errors import BadInput
from common.text import listed, shown
from configs.fields import Field
from configs.suggest import meant, nearest

_PAIRS = (("[", "]"), ("{", "}"))


def refuse_slips(words: Sequence[str], names: Collection[str]) -> None:
    """BadInput for options with dashes, spaces around `=`, and a list that the shell divided."""
    for index, word in enumerate(words):
        after = words[index + 1 :]
        if word.startswith("-") and word.lstrip("-")[:1].isalpha():
            raise BadInput(f"{word}: no such option; {_without_dashes(word, after, names)}")
        is_apart = word == "=" or (word.endswith("=") and word.count("=") == 1)
        if after and (after[0].startswith("=") or (is_apart and "=" not in after[0])):
            key, value = word.rstrip("="), "".join(after[:2]).lstrip("=")
            value = value if after[0] == "=" else after[0].lstrip("=")
            raise BadInput(f"{key}: found spaces around '=', expected none: {key}={value}")
        if whole := _divided(word, after):
            key, _, value = whole.partition("=")
            raise BadInput(
                f"{key}: the shell divided the list at its spaces; type "
                f"{key}={value.replace(' ', '')}, or quote it: '{whole}'"
            )


def _without_dashes(word: str, after: Sequence[str], names: Collection[str]) -> str:
    """`type experiment=x` for --experiment x, --experiment=x and --exp x."""
    name, _, value = word.lstrip("-").partition("=")
    name = name.replace("-", "_")
    if not value and after and "=" not in after[0] and not after[0].startswith("-"):
        value = after[0]
    found = [name] if name in (*names, "experiment") else meant(name, [*names, "experiment"])
    if not found or " " in found[0]:
        return "fields are typed as key=value; --help lists them"
    key, _, other = found[0].partition("=")
    return f"type {key}={other or value or '...'}"


def _divided(word: str, after: Sequence[str]) -> str | None:
    """The whole of a list or mapping of which `word` is the beginning, and words after it the rest.

    A name of the user's own may have a bracket: then no word after it closes it.
    """
    for opening, closing in _PAIRS if "=" in word else ():
        if word.count(opening) <= word.count(closing):
            continue
        for count in range(1, len(after) + 1):
            if "=" in after[count - 1]:
                break
            whole = " ".join([word, *after[:count]])
            if whole.count(opening) == whole.count(closing):
                return whole
    return None


def bare_word(word: str, fields: Mapping[str, Field], config_dir: Path | None) -> str:
    """The complaint about a word that is no key=value, with the key that it probably is for."""
    top = {name: field for name, field in fields.items() if "." not in name}
    experiments = _files(config_dir, "experiment")
    found = [f"experiment={word}"] if word in experiments else []
    found += [f"{name}={word}" for name in top if word in _files(config_dir, name)]
    found += [f"{name}={word}" for name, field in top.items() if word in field.choices]
    found += [f"{word}=true"] if word in top and top[word].hint is bool else []
    key, colon, value = (part.strip() for part in word.partition(":"))
    if colon and value and key in {*fields, "experiment"}:
        found.append(f"{key}={value}")
    if os.path.exists(word) or os.sep in word or Path(word).suffix:
        places = ("runs", "checkpoint", "path", "out")
        found += [f"{name}={word}" for name in places if name in top][:1]
    if not found and (near := nearest(word, experiments)):
        found = [f"experiment={near}"]
    if not found:
        names = [*top, "experiment"] if experiments else list(top)
        meant_by = [word] if word in top else meant(word, names)
        found = [text if "=" in text else f"{text}=..." for text in meant_by if " " not in text]
    cure = f"did you mean {found[0]}?" if found else f"keys: {listed(top)}" if top else ""
    return f"{shown(word)!r}: found no '=', expected key=value" + (f"; {cure}" if cure else "")


def _files(config_dir: Path | None, group: str) -> list[str]:
    """The names of a group's files."""
    return sorted(path.stem for path in (config_dir / group).glob("*.yaml")) if config_dir else []


def key_twice(value: str) -> str | None:
    """A key that stands twice in one mapping of a typed value: Hydra's grammar keeps the last."""
    levels: list[set[str] | None] = []  # the keys of each bracket that is open; None of a list
    word, quote, is_key = "", "", True
    for letter in value:
        if quote or letter in "'\"":
            quote = "" if letter == quote else quote or letter
            word += letter
        elif letter in "{[(":
            levels.append(set() if letter == "{" else None)
            word, is_key = "", True
        elif letter in "}])":
            levels[-1:] = []
            is_key = False
        elif letter == ",":
            word, is_key = "", True
        elif letter == ":" and is_key and levels and (keys := levels[-1]) is not None:
            key, is_key = word.strip().strip("'\""), False
            if key in keys:
                return key
            keys.add(key)
        else:
            word += letter
    return None
