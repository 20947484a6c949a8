"""Config files that YAML reads otherwise than written are refused at once, where they matter."""

import time
from pathlib import Path

import pytest

from common.errors import BadInput
from configs.load import CONFIG_DIR
from configs.yaml_check import check_yaml
from tests.support.train_configs import copy_configs, load_config


@pytest.fixture
def copied_configs(tmp_path: Path) -> Path:
    return copy_configs(tmp_path / "c")


FILES = {
    "octal": (b"seed: 010\n", "010"),
    "clock": (b"seed: 12:30:00\n", "12:30:00"),
    "duplicate": (b"seed: 1\nseed: 2\n", "seed"),
    "latin1": (b"x: \xe9\n", "UTF-8"),
    "nul": (b"x: a\x00b\n", "YAML"),
    "list": (b"- 1\n", "key: value"),
    "text": (b"hello\n", "key: value"),
    "open": (b"x: [1\n", "YAML"),
    "tag": (b"x: !!python/object/apply:os.system [echo]\n", ""),
    "bomb": (
        b"a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
        "alias",
    ),
    "deep": (b"x: " + b"[" * 500 + b"]" * 500 + b"\n", "nested"),
    "large": (b"x: " + b"a" * 2_000_000 + b"\n", "bytes"),
}


@pytest.mark.parametrize("name", FILES)
def test_check_folder_refuses_a_file_that_yaml_reads_otherwise(name, copied_configs):
    """A file that YAML reads otherwise is refused quickly."""
    content, word = FILES[name]
    (copied_configs / "experiment" / "bad.yaml").write_bytes(b"# @package _global_\n" + content)
    start = time.monotonic()
    with pytest.raises(BadInput) as error:
        load_config("experiment=bad", config_dir=copied_configs)
    assert time.monotonic() - start < 60
    assert word in str(error.value)


def test_check_folder_passes_a_bad_file_that_nothing_names(copied_configs):
    """A bad file that nothing names does no harm."""
    (copied_configs / "experiment" / "draft.yaml").write_bytes(b"x: \xe9\n")
    (copied_configs / "experiment" / "._smoke.yaml").write_bytes(b"\x00\x05\x16\x07")
    assert load_config("experiment=smoke", config_dir=copied_configs)
    with pytest.raises(BadInput, match="draft.yaml: not UTF-8"):
        load_config("experiment=draft", config_dir=copied_configs)


def test_check_yaml_passes_every_config_of_ours():
    for path in CONFIG_DIR.rglob("*.yaml"):
        check_yaml(path)
        assert path.read_text().startswith("#"), f"{path}: no head"
    assert not (CONFIG_DIR / "config.yaml").exists()
