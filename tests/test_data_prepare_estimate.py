"""What a preparation will cost, against what it did cost and what the data sets' pages say."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from configs.schema import build
from data.config import DataConfig
from data.manifest import read_manifest
from data.prepare import prepare
from data.prepare.estimate import estimate

GROUPS = Path(__file__).parent.parent / "configs" / "data"


def group(name: str, **values: object) -> DataConfig:
    loaded = yaml.safe_load((GROUPS / f"{name}.yaml").read_text())
    return build(DataConfig, loaded | values, "data")


def test_estimate_of_fineweb_is_what_its_page_says() -> None:
    """30.6 GB to fetch, 21 GB of shards, 1.6 hours of one core."""
    data = group("fineweb")
    found = estimate(data)
    assert found.download_bytes == 30_600_000_000
    assert found.shard_bytes == pytest.approx(21e9, rel=0.02)
    assert found.tokens == pytest.approx(10.4e9, rel=0.01)
    assert found.tokenising_hours is not None and 0 < found.tokenising_hours <= 1.7


def test_estimate_ends_at_the_tokens_that_are_needed() -> None:
    """27B of 103B tokens cost their share, whichever of the two names the need."""
    data = group("fineweb_100b")
    all_of_it = estimate(data)
    needed = estimate(data, 27_000_000_000)
    assert needed.tokens == 27_100_000_000  # the validation split is read first
    assert needed.shard_bytes == 2 * needed.tokens
    share = needed.tokens / all_of_it.tokens
    assert needed.download_bytes == pytest.approx(share * all_of_it.download_bytes, rel=1e-6)
    assert needed.tokenising_hours == pytest.approx(share * all_of_it.tokenising_hours)
    assert estimate(replace(data, train_tokens=27_000_000_000)) == needed
    assert estimate(data, 10**15) == all_of_it


def test_estimate_of_an_unknown_data_set_knows_what_it_can() -> None:
    values = yaml.safe_load((GROUPS / "hf.yaml").read_text())
    values["hub"]["name"] = "someone/something"
    data = build(DataConfig, values, "data")
    unknown = estimate(data)
    assert unknown.download_bytes is unknown.shard_bytes is unknown.tokenising_hours is None
    needed = estimate(data, 1_000_000)
    assert needed.download_bytes is None
    assert needed.tokens == pytest.approx(1_010_101, abs=2)
    assert needed.shard_bytes == 2 * needed.tokens


@pytest.mark.parametrize("tokenizer", ["bytes", "gpt2"])
@pytest.mark.needs_reference
def test_estimate_of_local_text_is_near_what_is_made(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, tokenizer
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_dir / "tiktoken_cache"))
    path = str(data_dir / "corpus" / "val.jsonl.xz")
    data = group("files", path=path, tokenizer=tokenizer)
    found = estimate(data)
    manifest = read_manifest(prepare(data, tmp_path))
    made = manifest.train.tokens + manifest.val.tokens
    assert found.download_bytes == 0
    assert found.tokens == pytest.approx(made, rel=0.25)


def test_estimate_of_ready_shards_counts_them_and_writes_nothing(tmp_path: Path) -> None:
    for name, size in (("train", 3000), ("val", 500)):
        (tmp_path / f"{name}.bin").write_bytes(bytes(2 * size))
    found = estimate(group("shards", path=str(tmp_path)))
    assert (found.download_bytes, found.shard_bytes, found.tokens) == (0, 0, 3500)


def test_estimate_of_text_that_is_not_here_is_unknown(tmp_path: Path) -> None:
    """A plan may be made on another machine than the one that has the text."""
    found = estimate(group("files", path=str(tmp_path / "nowhere")))
    assert (found.download_bytes, found.tokens) == (0, None)


def test_estimate_imports_nothing_heavy() -> None:
    code = "import sys, data.prepare.estimate; print({'torch', 'datasets', 'pyarrow', 'tiktoken'}"
    code += " & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
