"""Random tokens in place of data that are not here."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.config import DataConfig
from data.manifest import read_manifest
from data.prepare import prepare, random_data
from data.verification import check_shards


def test_random_data_can_be_asked_for_by_all_ranks_at_once(tmp_path: Path) -> None:
    """Each finds whole shards, and nothing else is left behind."""

    def tokens_found(_: int) -> int:
        drawn = random_data(DataConfig("python", None, "gpt2", 0.1, 1), tmp_path, 300_000, 65)
        folder = prepare(drawn, tmp_path)
        manifest = read_manifest(folder)
        check_shards(folder, manifest, full=True)
        return manifest.train.tokens + manifest.val.tokens

    with ThreadPoolExecutor(4) as ranks:
        assert list(ranks.map(tokens_found, range(4))) == 4 * [300_065]
    assert len(list(tmp_path.iterdir())) == 1
