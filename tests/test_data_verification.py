"""What is on the disk is what was prepared, or the run does not begin."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.errors import BadInput
from data import verification
from data.manifest import Manifest
from data.shards import Shard
from data.verification import VERIFIED, check_shards
from tests.support.tiny_corpus import poke, random_data

VAL = "val_000000.bin"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two shards, small ones, that were checked once."""
    manifest = random_data(tmp_path, 50_000, 10_000)
    check_shards(tmp_path, manifest)
    return manifest


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Write into a file and put its times back, as far as that can be done."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def pretend_unchanged(folder: Path) -> None:
    """Let verified.json say of the files as they are what it said before: a silent disk fault."""
    values = json.loads((folder / VERIFIED).read_text())
    for name, noted in values["shards"].items():
        status = (folder / name).stat()
        noted["state"] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    (folder / VERIFIED).write_text(json.dumps(values))


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read whole from now on."""
    read, whole = [], verification.check_whole

    def counted(shard: Shard, vocab_size: int, sha256: str) -> str:
        read.append(shard.path.name)
        return whole(shard, vocab_size, sha256)

    monkeypatch.setattr(verification, "check_whole", counted)
    return read


@pytest.mark.parametrize("token", [0, 2500, 49_999])
@pytest.mark.parametrize("value", [50257, 50303, 65535])  # the first two hide in the padding
def test_check_refuses_an_id_beyond_the_vocabulary(tmp_path: Path, token: int, value: int) -> None:
    manifest = random_data(tmp_path, 50_000, 500)
    poke(tmp_path / "train_000000.bin", token, value)
    with pytest.raises(BadInput) as refusal:
        check_shards(tmp_path, manifest)
    for part in ("train_000000.bin", f"id {value}", f"token {token},", "50257"):
        assert part in str(refusal.value)


def test_check_names_the_token_in_any_block(tmp_path: Path, monkeypatch) -> None:
    """An id is counted from the first of its file, whatever block it is in."""
    monkeypatch.setattr(verification, "BLOCK_BYTES", 4096)
    manifest = random_data(tmp_path, 50_000, 500)
    poke(tmp_path / "train_000000.bin", 31_234, 60_000)
    with pytest.raises(BadInput, match="id 60000 at token 31234,"):
        check_shards(tmp_path, manifest)


def test_full_check_finds_every_flipped_byte(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / VAL
    content = path.read_bytes()
    for offset in np.random.default_rng(0).integers(1024, len(content), 64):
        flipped = bytearray(content)
        flipped[offset] ^= 1  # of a low byte or a high one; stays an id of the vocabulary mostly
        path.write_bytes(flipped)
        with pytest.raises(BadInput, match=f"{VAL}: found (sha256|id)"):
            check_shards(tmp_path, manifest, full=True)


@pytest.mark.parametrize("at", [1024, 9_000, 21_024 - 4096])
def test_zeros_in_a_file_are_found_though_size_and_times_are_kept(tmp_path, manifest, at) -> None:
    """4 kB of zeros, a write that left its only trace in ctime."""
    overwrite(tmp_path / VAL, at, bytes(4096))
    with pytest.raises(BadInput, match=f"{VAL}: found sha256"):
        check_shards(tmp_path, manifest)
    with pytest.raises(BadInput, match=f"{VAL}: found sha256"):  # and again: it was not noted
        check_shards(tmp_path, manifest)


def test_zeros_in_a_small_file_are_found_though_no_trace_is_left(tmp_path, manifest) -> None:
    """A disk that returns other bytes than were written."""
    overwrite(tmp_path / VAL, 9_000, bytes(4096))
    pretend_unchanged(tmp_path)
    with pytest.raises(BadInput, match=f"{VAL}: found sha256"):
        check_shards(tmp_path, manifest)


def test_a_sample_of_a_large_file_finds_its_fault_in_time(tmp_path, monkeypatch) -> None:
    """Of 25 blocks 5 are looked at: each start finds a bad block with a chance of a fifth."""
    monkeypatch.setattr(verification, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(verification, "SAMPLE_BLOCKS", 5)
    manifest = random_data(tmp_path, 40_000, 10_000)
    check_shards(tmp_path, manifest)
    overwrite(tmp_path / "train_000000.bin", 40_000, bytes(64))
    pretend_unchanged(tmp_path)
    found = 0
    for _ in range(200):
        try:
            check_shards(tmp_path, manifest)
        except BadInput:
            found += 1
    assert 15 <= found <= 70  # 40 expected, by a binomial of sd 5.7
    with pytest.raises(BadInput, match="train_000000.bin: found sha256"):
        check_shards(tmp_path, manifest, full=True)


def test_unchanged_files_are_not_read_whole_again(tmp_path, manifest, monkeypatch) -> None:
    read = count_reads(monkeypatch)
    check_shards(tmp_path, manifest)
    assert read == []
    os.utime(tmp_path / VAL)  # a copy that is the same: its content decides
    check_shards(tmp_path, manifest)
    check_shards(tmp_path, manifest)
    assert read == [VAL]
    check_shards(tmp_path, manifest, full=True)
    assert read == [VAL, "train_000000.bin", VAL]


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_text("")


DAMAGE = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:70]),
    "swapped": lambda path: path.write_bytes(path.read_bytes()[::-1]),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\x00" + path.read_bytes()),
    "a list": lambda path: path.write_text("[]"),
    "no shards": lambda path: path.write_text('{"shards": 3}'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "a folder": as_folder,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_made_again(tmp_path, manifest, damage, monkeypatch) -> None:
    before = json.loads((tmp_path / VERIFIED).read_text())
    damage(tmp_path / VERIFIED)
    read = count_reads(monkeypatch)
    check_shards(tmp_path, manifest)
    assert read == ["train_000000.bin", VAL]
    assert json.loads((tmp_path / VERIFIED).read_text()) == before


def test_any_flipped_byte_of_the_cache_does_no_harm(tmp_path, manifest) -> None:
    """Right shards are taken as right, and the cache says the same as before."""
    before = (tmp_path / VERIFIED).read_bytes()
    for offset in range(0, len(before), 7):
        flipped = bytearray(before)
        flipped[offset] ^= 1 << (offset % 8)
        (tmp_path / VERIFIED).write_bytes(flipped)
        check_shards(tmp_path, manifest)
        check_shards(tmp_path, manifest)
    assert json.loads((tmp_path / VERIFIED).read_bytes()) == json.loads(before)


def test_another_manifest_reads_all_again(tmp_path, manifest) -> None:
    """What was checked by other digests is not checked: the cache may come from elsewhere."""
    other = tmp_path / "other"
    other.mkdir()
    found = random_data(other, 50_000, 10_001)
    shutil.copy(tmp_path / VERIFIED, other)
    poke(other / VAL, 77, 1)
    with pytest.raises(BadInput, match=f"{VAL}: found sha256"):
        check_shards(other, found)


def test_a_folder_that_cannot_be_written_is_read_whole(tmp_path, manifest, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "read-only")

    (tmp_path / VERIFIED).unlink()
    monkeypatch.setattr(verification, "write_atomic", refuse)
    check_shards(tmp_path, manifest)
    assert not (tmp_path / VERIFIED).exists()
