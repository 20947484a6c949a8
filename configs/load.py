"""From YAML groups and overrides to one tree of plain containers, by Hydra's compose API.

`configs.schema.build` alone decides what is accepted, so that a misspelt key is refused in a file
as on the command line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from common.errors import BadInput
from configs.groups import CONFIG_DIR, files_with
from configs.hydra_errors import explain
from configs.overrides import TRIAL_KEYS, Keys, for_hydra, key_of
from configs.typed_words import refuse_slips
from configs.yaml_check import check_folder


def compose_config(
    root: str,
    overrides: Sequence[str] = (),
    config_dir: Path = CONFIG_DIR,
    keys: Keys = TRIAL_KEYS,
) -> dict[str, Any]:
    """Merge `root`.yaml, its groups and `overrides` into plain containers.

    Interpolation reaches other keys only, never the environment. Raises BadInput.
    """
    if not (config_dir / f"{root}.yaml").is_file():
        raise BadInput(f"{config_dir / root}.yaml: not found; check --config-dir and --config-name")
    refuse_slips(overrides, keys.fields)
    check_folder(config_dir, root, overrides)
    lines, maps = for_hydra(overrides, keys, config_dir)
    OmegaConf.clear_resolver("oc.env")
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(config_dir), version_base="1.3", job_name=root):
            values = OmegaConf.to_container(
                compose(config_name=root, overrides=lines), resolve=True, throw_on_missing=True
            )
    except Exception as error:  # some malformed values trip Hydra itself: TypeError, AssertionError
        raise BadInput(explain(error, overrides, root, config_dir)) from error
    assert isinstance(values, dict)
    merged = {str(key): value for key, value in values.items()}
    _require_whole_groups(merged, overrides, keys, config_dir)
    return merged | {group: merged.get(group, {}) | named for group, named in maps.items()}


def _require_whole_groups(
    values: Mapping[str, Any], overrides: Sequence[str], keys: Keys, config_dir: Path
) -> None:
    """Refuse a field of a part that is not chosen, as launcher.slurm.gpus with launcher=local."""
    for name in {key_of(override) for override in overrides} & set(keys.fields):
        parts = name.split(".")
        for count in range(1, len(parts)):
            group, found = ".".join(parts[:count]), values
            for part in parts[:count]:
                found = found.get(part) or {}
            inside = [f for f in keys.fields.values() if f.name.rpartition(".")[0] == group]
            needed = {f.name.rpartition(".")[2] for f in inside if f.default is MISSING}
            missing = needed - set(found)
            if missing and missing >= needed - {parts[count]} and (config_dir / parts[0]).is_dir():
                files = files_with(parts[0], parts[count - 1], config_dir) or ["NAME"]
                own = parts[count - 1]  # the file that is called as its part, where there is one
                choice = own if own in files else " or ".join(files)
                if count > 1 and parts[0] == "grid":  # its parts are files of their own
                    choice = f"[NAME,{choice}]"
                raise BadInput(
                    f"{name}: found without {group}, of which the rest is not given; choose it "
                    f"by {parts[0]}={choice}"
                )
