"""The YAML files of groups, read without Hydra, which takes longer than --help may."""

from pathlib import Path
from typing import Any

import yaml

CONFIG_DIR = Path(__file__).resolve().parent


def listed_files(group: str) -> list[str]:
    """The names of a group's files."""
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


def swept_experiments() -> list[str]:
    """The experiments that have a grid."""
    folder = CONFIG_DIR / "experiment"
    return [
        name
        for name in listed_files("experiment")
        if "override /grid:" in (folder / f"{name}.yaml").read_text(encoding="utf-8")
    ]


def files_with(group: str, part: str, config_dir: Path = CONFIG_DIR) -> list[str]:
    """The files of a group that set a part of it, as launcher/slurm.yaml sets `slurm`."""
    paths = sorted((config_dir / group).glob("*.yaml"))
    return [path.stem for path in paths if isinstance(_read(path).get(part), dict)]


def root_values(root: str) -> tuple[dict[str, Any], dict[str, str | None]]:
    """The values of a root config and of the groups that it takes in, and these groups' choices.

    A part of a group that is not in its chosen file is as the first file that has it.
    """
    values: dict[str, Any] = {}
    chosen: dict[str, str | None] = {}
    content = _read(CONFIG_DIR / f"{root}.yaml")
    for entry in content.pop("defaults", ()):
        if isinstance(entry, dict):
            for group, choice in entry.items():
                chosen[group] = choice
                below = root_values(f"{group}/{choice}")[0] if choice else {}
                values[group] = _other_parts(group) | below
        elif entry != "_self_":
            folder = root.rpartition("/")[0]
            below, groups = root_values(f"{folder}/{entry}" if folder else entry)
            values |= below
            chosen |= groups
    return values | content, chosen


def _other_parts(group: str) -> dict[str, Any]:
    paths = sorted((CONFIG_DIR / group).glob("*.yaml"), reverse=True)
    parts = {name: v for path in paths for name, v in _read(path).items() if isinstance(v, dict)}
    return {} if group == "experiment" else parts


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
