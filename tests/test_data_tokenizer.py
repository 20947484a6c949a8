"""Ids give the text back, and the counts are the published ones."""

import lzma
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data.tokenizer
from common.errors import BadInput
from data.prepare.shard_writer import ShardWriter
from data.tokenizer import (
    TokenizerFailure,
    encode_ordinary,
    is_byte_vocabulary,
    load_encoder,
    load_encoding,
    vocabulary,
)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_encoder_of_bytes_gives_the_utf8_bytes(text: str) -> None:
    ids = load_encoder("bytes")(text)
    assert ids.dtype == np.uint16
    assert ids.astype(np.uint8).tobytes().decode() == text
    assert vocabulary("bytes").end_of_text not in ids


@pytest.fixture
def gpt2(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_dir / "tiktoken_cache"))
    return load_encoder("gpt2")


@pytest.mark.needs_reference
def test_encoder_counts_tiny_shakespeare_as_published(gpt2, data_dir, tmp_path):
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
def test_vocabulary_of_gpt2_is_that_of_tiktoken(gpt2) -> None:
    import tiktoken

    encoding = tiktoken.get_encoding("gpt2")
    ids = vocabulary("gpt2")
    assert (ids.size, ids.end_of_text) == (encoding.n_vocab, encoding.eot_token)
    assert gpt2("Hello world").tolist() == [15496, 995]
    assert ids.end_of_text not in gpt2("<|endoftext|>")


def test_encoder_of_gpt2_without_files_and_network_is_one_line(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("size", "expected"), [(256, True), (257, True), (258, False)])
def test_is_byte_vocabulary_knows_the_separator(size: int, expected: bool) -> None:
    assert is_byte_vocabulary(size) is expected


BLANKS = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2007\u200a\u2028\u2029\u202f\u205f\u3000"
PART = st.one_of(
    st.text(st.sampled_from(BLANKS), max_size=12),
    st.text(st.sampled_from("ab1é-'s\x1c\u200b😀"), max_size=6),
)


@pytest.mark.needs_reference
@given(parts=st.lists(PART, max_size=12))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_encoder_of_gpt2_cuts_runs_of_white_space_where_gpt2_does(gpt2, parts) -> None:
    """Ids are tiktoken's own for every text that tiktoken can encode, runs being long from 3 on."""
    import tiktoken

    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data.tokenizer, "LONG_RUN", 3)
        patch.setattr(data.tokenizer, "_LONG_RUN", data.tokenizer.run_of_blanks(3))
        ids = gpt2(text).tolist()
    assert ids == tiktoken.get_encoding("gpt2").encode_ordinary(text)


@pytest.mark.needs_reference
@pytest.mark.parametrize(
    ("text", "count", "last"),
    [
        ("table" + " " * 1_100_000 + "end", 1 + 1_099_999 + 1, 886),
        ("table" + " " * 1_100_000, 1 + 1_100_000, 220),
        ("\n" * 1_100_001 + "x", 550_000 + 2, 87),
        ("a" * 1_000_000, 250_000, 24794),
        ("😀" * 250_000, 500_000, 222),
    ],
    ids=["blanks", "blanks at the end", "line ends", "one letter", "one sign"],
)
def test_encoder_of_gpt2_takes_a_million_of_one_character(gpt2, text, count, last) -> None:
    """A run that tiktoken's own pattern panics on, and one word of a megabyte: seconds at most."""
    started = time.process_time()
    ids = gpt2(text)
    assert time.process_time() - started < 60  # quadratic, it took minutes
    assert (len(ids), ids[-1]) == (count, last)


def test_encoder_turns_a_panic_into_a_refusal_and_lets_ctrl_c_through() -> None:
    """pyo3's PanicException is no Exception; KeyboardInterrupt is none either, and no defect."""

    def encoding(error: BaseException) -> object:
        def fail(text: str) -> list[int]:
            raise error

        return SimpleNamespace(encode_ordinary=fail)

    panic = type("PanicException", (BaseException,), {})("StackOverflow")
    with pytest.raises(TokenizerFailure, match="StackOverflow"):
        encode_ordinary(encoding(panic), "text")
    with pytest.raises(KeyboardInterrupt):
        encode_ordinary(encoding(KeyboardInterrupt()), "text")


def test_load_encoding_refuses_a_vocabulary_without_a_byte(tmp_path: Path) -> None:
    """At a text with that byte tiktoken panics."""
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0, "b": 1}}}')
    with pytest.raises(BadInput, match="byte 0: found no id, expected one for each byte"):
        load_encoding(tmp_path)
