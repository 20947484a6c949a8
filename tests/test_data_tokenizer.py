"""Ids give the text back, and the counts are the published ones."""

import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadInput
from data.sources import Document
from data.tokenizer import encode_here, encode_in_parallel, load_encoder, vocabulary
from data.writer import ShardWriter


def document(text: str, where: str = "somewhere:1") -> Document:
    return Document(text, text.encode(), where)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_byte_ids_are_the_utf8_bytes(text: str) -> None:
    ids = load_encoder("bytes")(text)
    assert ids.dtype == np.uint16
    assert ids.astype(np.uint8).tobytes().decode() == text
    assert vocabulary("bytes").end_of_text not in ids


def test_text_with_the_separator_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"book.txt: found a NUL character"):
        list(encode_here(iter([document("a\0b", "book.txt")]), "bytes"))


def test_processes_keep_the_order_of_documents() -> None:
    texts = [str(number) * (50_000 * (number % 7) + 1) for number in range(40)]
    documents = [document(text) for text in texts]
    parallel = encode_in_parallel(iter(documents), "bytes")
    for (here, ids), (there, same) in zip(
        encode_here(iter(documents), "bytes"), parallel, strict=True
    ):
        assert here is there
        np.testing.assert_array_equal(ids, same)


@pytest.fixture
def gpt2(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_dir / "tiktoken_cache"))
    return load_encoder("gpt2")


@pytest.mark.needs_reference
def test_tiny_shakespeare_has_the_published_counts_by_each_convention(gpt2, data_dir, tmp_path):
    """Whole; nanoGPT: cut at 90% of the characters; llm.c: 50256 before each section, 32,768 ids
    of validation first. The shards of both are those of others, byte by byte.
    """
    with lzma.open(data_dir / "eval" / "tinyshakespeare.txt.xz", "rt", newline="\n") as file:
        text = file.read()
    assert len(gpt2(text)) == 338_025
    cut = int(len(text) * 0.9)
    for name, part, count in (("train", text[:cut], 301_966), ("val", text[cut:], 36_059)):
        theirs = np.fromfile(data_dir / "shards" / f"nanogpt_shakespeare_{name}.bin", "<u2")
        np.testing.assert_array_equal(gpt2(part), theirs)
        assert len(theirs) == count
    *sections, last = text.split("\n\n")
    parts = [gpt2(f"{section}\n\n") for section in sections] + [gpt2(last)]
    ids = np.concatenate([np.append(np.uint16(50256), part) for part in parts])
    assert len(ids) == 338_028
    for name, part, size in (("val", ids[:32_768], 66_560), ("train", ids[32_768:], 611_544)):
        writer = ShardWriter(tmp_path, name)
        writer.write(part)
        [entry] = writer.close()
        ours = (tmp_path / entry.name).read_bytes()
        assert ours == (data_dir / "shards" / f"tiny_shakespeare_{name}.bin").read_bytes()
        assert len(ours) == size


@pytest.mark.needs_reference
def test_gpt2_vocabulary_is_tiktokens(gpt2) -> None:
    import tiktoken

    encoding = tiktoken.get_encoding("gpt2")
    ids = vocabulary("gpt2")
    assert (ids.size, ids.end_of_text) == (encoding.n_vocab, encoding.eot_token)
    assert gpt2("Hello world").tolist() == [15496, 995]
    assert ids.end_of_text not in gpt2("<|endoftext|>")


def test_gpt2_without_files_and_network_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("text\n" * 1000)
    (tmp_path / "cache").mkdir()
    unreachable = {name: "http://127.0.0.1:9" for name in ("https_proxy", "HTTPS_PROXY")}
    command = ["-m", "data.prepare", "source=files", "tokenizer=gpt2", f"path={tmp_path}"]
    result = subprocess.run(
        [sys.executable, *command, f"out={tmp_path / 'out'}"],
        env=os.environ | unreachable | {"TIKTOKEN_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "TIKTOKEN_CACHE_DIR" in result.stderr
    assert not (tmp_path / "out").exists()
