"""Config files that YAML reads otherwise than their authors wrote them."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from common.errors import BadInput
from common.files import read_bytes

_MAX_BYTES, _MAX_DEPTH = 1_000_000, 20
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9_]*)?")


def check_folder(folder: Path, root: str, overrides: Sequence[str]) -> None:
    """`check_yaml` for all files of a folder that the root config, or any other, may take in.

    A file that nothing names (somebody's draft, a file manager's leftover) cannot do harm.
    """
    refused: dict[Path, BadInput] = {}
    texts = [f"{root}.yaml", *overrides]
    for path in sorted(folder.rglob("*.yaml")):
        try:
            check_yaml(path)
            texts.append(path.read_text(encoding="utf-8"))
        except BadInput as error:
            refused[path] = error
    words = set(re.findall(r"[\w.-]+", "\n".join(texts)))
    for path, refusal in refused.items():
        if path.stem in words or path.name in words:
            raise refusal


def check_yaml(path: Path) -> None:
    """Refuse what YAML would read otherwise than its author: octals, clock times, huge aliases.

    By its events alone: the parser that makes nodes of them ends the process where they are nested
    deeper than its stack.
    """
    content = read_bytes(path, _MAX_BYTES)
    try:
        _check_events(path, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def _check_events(path: Path, text: str) -> None:
    depth = documents = 0
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for event in yaml.parse(text, Loader=loader):
        where = f"{path}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise BadInput(f"{where}: a second document, expected one; remove the line ---")
        elif isinstance(event, yaml.AliasEvent):
            raise BadInput(f"{where}: an alias, expected plain values; write it out")
        elif isinstance(event, yaml.NodeEvent):
            if depth == 0 and not isinstance(event, yaml.MappingStartEvent):
                found = "a list" if isinstance(event, yaml.SequenceStartEvent) else "a single value"
                raise BadInput(f"{path}: found {found}, expected key: value lines")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _MAX_DEPTH:
                    raise BadInput(f"{where}: nested deeper than {_MAX_DEPTH}")
            elif not event.style and (
                _OCTAL.fullmatch(event.value) or _SEXAGESIMAL.fullmatch(event.value)
            ):
                raise BadInput(
                    f"{where}: found {event.value}, which YAML does not read as written; "
                    "quote text, and write numbers without leading zeros or colons"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
