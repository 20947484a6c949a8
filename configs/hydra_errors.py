"""One line for the several in which Hydra refuses an override or a file."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.suggest import cure, one_of

_NAMED = (HydraException, OmegaConfBaseException)  # their texts name the key


def explain(error: BaseException, overrides: Sequence[str], root: str, config_dir: Path) -> str:
    """One line for Hydra's several, with the nearest key for a misspelt one."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OverrideParseException):
        typed = (error.override or "").lstrip("+")  # which we may have added
        key, _, value = typed.partition("=")
        cause = str(error).splitlines()[0].replace(error.override or typed, typed)
        return (
            f"{typed}: not in Hydra's grammar: {cause}; text with "
            f"other signs goes in quotes, as '{key}=\"{value}\"'"
        )
    if "Ambiguous value for argument" in text:
        several = next((line for line in overrides if "," in line and line in text), text)
        key, _, value = several.partition("=")
        return f"{key}: found {value}, expected one value"
    unknown = re.search(r"Key '([^']+)' is not in struct|Could not override '([^']+)'", text)
    if unknown:
        name = unknown[1] or unknown[2]
        given = [line.partition("=")[0].lstrip("+") for line in overrides]
        full = next((key for key in given if key.split(".")[-1] == name or key == name), name)
        return f"{full}: unknown key; {cure(full, _known_keys(root, config_dir))}"
    if mandatory := re.search(r"Missing mandatory value: .*full_key: (\S+)", text):
        return f"{mandatory[1]}: missing; give it, as {mandatory[1]}=..."
    missing = re.search(r"Could not find '([^']+)'", text)
    if missing:
        group, _, choice = missing[1].removesuffix(".yaml").rpartition("/")
        if group and not (config_dir / group).is_dir():  # a path where a name is expected
            group = group.partition("/")[0]
        there = sorted(path.stem for path in (config_dir / group).glob("*.yaml"))
        return f"{group or 'config'}: found {choice!r}, expected {one_of(choice, there)}"
    if at_key := _interpolation(error):
        return at_key
    return text[:400] if isinstance(error, _NAMED) else f"{' '.join(overrides)}: {text[:300]}"


def _interpolation(error: BaseException | None) -> str | None:
    """The key at which an interpolation fails, which may stand in what an error came from alone."""
    while error is not None:
        if isinstance(error, OmegaConfBaseException) and error.full_key:
            found = str(error).splitlines()[0]
            return f"{error.full_key}: {found}; expected a value, or ${{NAME}} of another key"
        error = error.__cause__ or error.__context__
    return None


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
