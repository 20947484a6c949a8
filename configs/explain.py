"""One line for the several in which Hydra refuses an override or a file."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_NAMED = (HydraException, OmegaConfBaseException)  # their texts name the key


def explain(error: BaseException, overrides: Sequence[str], root: str, config_dir: Path) -> str:
    """One line for Hydra's several, with the nearest key for a misspelt one."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OverrideParseException):
        key, _, value = (error.override or "").partition("=")
        return (
            f"{error.override}: not in Hydra's grammar: {str(error).splitlines()[0]}; text with "
            f"other signs goes in quotes, as '{key}=\"{value}\"'"
        )
    unknown = re.search(r"Key '([^']+)' is not in struct|Could not override '([^']+)'", text)
    if unknown:
        name = unknown[1] or unknown[2]
        given = [line.partition("=")[0].lstrip("+") for line in overrides]
        full = next((key for key in given if key.split(".")[-1] == name or key == name), name)
        near = difflib.get_close_matches(full, _known_keys(root, config_dir), 1, 0.5)
        return f"{full}: unknown key" + (f"; did you mean {near[0]}?" if near else "")
    if mandatory := re.search(r"Missing mandatory value: .*full_key: (\S+)", text):
        return f"{mandatory[1]}: missing; give it, as {mandatory[1]}=..."
    missing = re.search(r"Could not find '([^']+)'", text)
    if missing:
        group, _, choice = missing[1].rpartition("/")
        there = sorted(path.stem for path in (config_dir / group).glob("*.yaml"))
        return f"{group or 'config'}: found {choice!r}, expected one of {', '.join(there)}"
    return text[:400] if isinstance(error, _NAMED) else f"{' '.join(overrides)}: {text[:300]}"


def _known_keys(root: str, config_dir: Path) -> list[str]:
    try:
        with initialize_config_dir(str(config_dir), version_base="1.3", job_name=root):
            tree = OmegaConf.to_container(compose(config_name=root))
    except Exception:  # this only looks for a suggestion; the first error is the one to report
        return []
    found: list[str] = []

    def walk(node: Any, prefix: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                found.append(f"{prefix}{key}")
                walk(value, f"{prefix}{key}.")

    walk(tree, "")
    return found
