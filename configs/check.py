"""Config files that YAML reads otherwise than their authors wrote them."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from configs.errors import BadInput

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
    """Refuse what YAML would read otherwise than its author: octals, clock times, huge aliases."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{path}: {path.stat().st_size} bytes, expected at most {_MAX_BYTES}")
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise BadInput(f"{path}: nested too deeply, expected at most {_MAX_DEPTH}") from None
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise BadInput(f"{path}: found a {root.tag.rsplit(':')[-1]}, expected key: value lines")
    seen: set[int] = set()
    stack: list[tuple[yaml.Node, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        line = node.start_mark.line + 1
        if depth > _MAX_DEPTH:
            raise BadInput(f"{path}:{line}: nested deeper than {_MAX_DEPTH}")
        if isinstance(node, yaml.ScalarNode):
            if not node.style and (
                _OCTAL.fullmatch(node.value) or _SEXAGESIMAL.fullmatch(node.value)
            ):
                raise BadInput(
                    f"{path}:{line}: found {node.value}, which YAML does not read as written; "
                    "quote text, and write numbers without leading zeros or colons"
                )
            continue
        if id(node) in seen:
            raise BadInput(f"{path}:{line}: an alias, expected plain values; write it out")
        seen.add(id(node))
        children = (
            [part for pair in node.value for part in pair]
            if isinstance(node, yaml.MappingNode)
            else node.value
        )
        stack.extend((child, depth + 1) for child in children)
