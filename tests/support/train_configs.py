"""The config of train.py as a command line gives it, and a copy of the config files to spoil."""

import shutil
from pathlib import Path

from configs.load import CONFIG_DIR, compose_config
from configs.schema import build
from training.config import TrainConfig


def load_config(*overrides: str, config_dir: Path = CONFIG_DIR) -> TrainConfig:
    values = compose_config("train", overrides, config_dir)
    for name in ("grid", "fit"):  # an experiment for sweeps serves train.py too
        values.pop(name, None)
    return build(TrainConfig, values)


def copy_configs(folder: Path) -> Path:
    """A copy of the YAML groups in `folder`."""
    shutil.copytree(CONFIG_DIR, folder, ignore=shutil.ignore_patterns("*.py", "__py*"))
    return folder
