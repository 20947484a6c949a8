"""Weights are read with the tokenizer that they were trained with, by digest, or not at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from common.errors import BadInput
from common.files import file_digest
from data.prepare import prepare
from model import pretrained
from model.checkpoint_io import write_sealed
from model.config import GPTConfig
from model.gpt import GPT
from model.own_tokenizer import OwnTokenizer, by_size, with_file
from model.pretrained import read_pretrained
from tests.support.tiny_corpus import tiny_corpus
from training import sample
from training.zero_shot import __main__ as zero_shot

SIZE = 280


def shape(vocab_size: int) -> GPTConfig:
    return GPTConfig(
        n_layer=1, n_head=1, n_embd=8, block_size=16, vocab_size=vocab_size, init_std=0.02
    )


def checkpoint(folder: Path, vocab_size: int, **data: object) -> Path:
    """A checkpoint of ours whose data are as stated."""
    folder.mkdir()
    config = shape(vocab_size)
    network = GPT(config, torch.Generator().manual_seed(0))
    meta = {"step": 0, "config": {"model": vars(config)}, "data": data}
    write_sealed(folder, meta, {"step": 0, "model": dict(network.state_dict())})
    return folder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict[str, Path]:
    """Folders of two learnt tokenizers of equal size."""
    found = {}
    for name, words in (("a", "word"), ("b", "river mountain")):
        top = tmp_path_factory.mktemp(name)
        config = tiny_corpus(top)
        for path in (top / "corpus").iterdir():
            path.write_text(path.read_text().replace("word", words))
        config = type(config)(**{**vars(config), "tokenizer": "bpe", "vocab_size": SIZE})
        found[name] = prepare(config, top / "out")
    assert file_digest(found["a"] / "tokenizer.json") != file_digest(found["b"] / "tokenizer.json")
    return found


@pytest.fixture
def of_a(tokenizers, tmp_path) -> Path:
    """A checkpoint of tokenizer a."""
    sha256 = file_digest(tokenizers["a"] / "tokenizer.json")
    return checkpoint(tmp_path / "of_a", SIZE, tokenizer="bpe", tokenizer_sha256=sha256)


@pytest.mark.parametrize("file", ["", "tokenizer.json"])
def test_another_tokenizer_of_equal_size_is_refused_by_digest(tokenizers, of_a, file):
    found = read_pretrained(str(of_a), str(tokenizers["a"] / file))
    assert found.own.file == tokenizers["a"] / "tokenizer.json" and found.note == ""
    digests = [file_digest(tokenizers[name] / "tokenizer.json")[:16] for name in "ba"]
    with pytest.raises(BadInput, match=f"found sha256 {digests[0]}.*expected {digests[1]}"):
        read_pretrained(str(of_a), str(tokenizers["b"] / file))


def test_one_that_lies_beside_the_weights_is_checked_too(tokenizers, of_a):
    shutil.copy(tokenizers["b"] / "tokenizer.json", of_a)
    with pytest.raises(BadInput, match="found sha256"):
        read_pretrained(str(of_a))
    shutil.copy(tokenizers["a"] / "tokenizer.json", of_a)
    assert read_pretrained(str(of_a)).own.file == of_a / "tokenizer.json"


def test_sample_zero_shot_and_export_refuse_it(tokenizers, of_a, tmp_path, capsys):
    """And take the right one."""
    (tmp_path / "x.txt").write_text("Document 7: word word word " * 20)

    def commands(name: str) -> list:
        words = [f"checkpoint={of_a}", f"tokenizer={tokenizers[name]}"]
        return [
            lambda: zero_shot.main([*words, f"text={tmp_path / 'x.txt'}", "device=cpu"]),
            lambda: sample.main([*words, "prompt=word", "tokens=3", "device=cpu"]),
            lambda: pretrained.main(["export", *words, f"out={tmp_path / 'hf'}"]),
            lambda: pretrained.main(["import", *words, f"out={tmp_path / 'ours'}"]),
        ]

    for command in commands("b"):
        with pytest.raises(BadInput, match="tokenizer: .* found sha256 .*; give that one"):
            command()
    assert not (tmp_path / "hf").exists() and not (tmp_path / "ours").exists()
    assert [command() for command in commands("a")] == [0, 0, 0, 0]
    capsys.readouterr()
    for name in ("hf", "ours"):  # what was written knows it by digest
        found = read_pretrained(str(tmp_path / name))
        assert found.own.sha256 == file_digest(tokenizers["a"] / "tokenizer.json")
        assert found.own.is_stated and found.note == ""
        (tmp_path / name / "tokenizer.json").unlink()
        with pytest.raises(BadInput, match="found sha256"):
            read_pretrained(str(tmp_path / name), str(tokenizers["b"]))


def test_weights_without_a_digest_say_what_is_assumed(tokenizers, of_a, tmp_path, capsys):
    """Other projects' weights, and exports of earlier code."""
    pretrained.main(["export", f"checkpoint={of_a}", f"out={tmp_path / 'hf'}"])
    path = tmp_path / "hf/config.json"
    values = json.loads(path.read_text())
    assert values.pop("tokenizer") == "bpe" and len(values.pop("tokenizer_sha256")) == 64
    path.write_text(json.dumps(values))
    assert read_pretrained(str(tmp_path / "hf")).note == ""
    found = read_pretrained(str(tmp_path / "hf"), str(tokenizers["b"]))
    assert f"hf has no digest of its tokenizer: {tokenizers['b']}" in found.note
    words = [f"checkpoint={tmp_path / 'hf'}", f"tokenizer={tokenizers['b']}", "tokens=2"]
    assert sample.main([*words, "device=cpu"]) == 0
    assert "no digest of its tokenizer" in capsys.readouterr().err


def test_by_size_is_an_assumption_that_is_told():
    here = Path("nowhere")
    assert with_file(by_size(50257), here, 50257).note == (
        "nowhere states no tokenizer: gpt2 is assumed, for its 50,257 ids"
    )
    assert "bytes is assumed" in with_file(by_size(256), here, 256).note
    assert with_file(by_size(300), here, 300) == OwnTokenizer("bpe", is_stated=False)
    assert with_file(OwnTokenizer("gpt2"), here, 50257).note == ""


def bpe_of_50257(folder: Path) -> Path:
    """A tokenizer.json with as many ids as GPT-2's, all other words."""
    folder.mkdir()
    words = {f"w{token}": token for token in range(50256)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": words}}))
    return folder


def test_a_bpe_as_large_as_gpt2_s_is_not_gpt2(tmp_path):
    """Neither is taken for the other, whatever the weights state."""
    other = str(bpe_of_50257(tmp_path / "other"))
    stated = checkpoint(tmp_path / "gpt2", 50257, tokenizer="gpt2")
    assert read_pretrained(str(stated)).tokenizer == "gpt2"
    with pytest.raises(BadInput, match="found another tokenizer than gpt2"):
        read_pretrained(str(stated), other)
    sha256 = file_digest(Path(other) / "tokenizer.json")
    learnt = checkpoint(tmp_path / "bpe", 50257, tokenizer="bpe", tokenizer_sha256=sha256)
    assert read_pretrained(str(learnt), other).tokenizer == "bpe"
    pretrained.main(["export", f"checkpoint={learnt}", f"out={tmp_path / 'hf'}"])
    assert read_pretrained(str(tmp_path / "hf")).tokenizer == "bpe"  # its size says gpt2
    shutil.copy(Path(other) / "tokenizer.json", tmp_path / "hf")
    path = tmp_path / "hf/config.json"
    values = json.loads(path.read_text())
    del values["tokenizer"], values["tokenizer_sha256"]
    path.write_text(json.dumps(values))
    found = read_pretrained(str(tmp_path / "hf"))  # as another project's: what lies beside it
    assert found.tokenizer == "bpe" and found.own.sha256 == sha256


@pytest.mark.needs_reference
def test_gpt2_s_own_file_is_known_as_such(tmp_path, data_dir, monkeypatch):
    """As transformers writes it, beside the weights or named."""
    pytest.importorskip("transformers")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_dir / "tiktoken_cache"))
    ours = checkpoint(tmp_path / "ours", 50257, tokenizer="gpt2")
    pretrained.main(["export", f"checkpoint={ours}", f"out={tmp_path / 'hf'}"])
    for source in (ours, tmp_path / "hf"):
        found = read_pretrained(str(source), str(tmp_path / "hf"))
        assert found.tokenizer == "gpt2" and found.note == ""
    path = tmp_path / "hf/config.json"
    values = {k: v for k, v in json.loads(path.read_text()).items() if "tokenizer" not in k}
    path.write_text(json.dumps(values))
    assert read_pretrained(str(tmp_path / "hf")).tokenizer == "gpt2"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": {"vocab": 3}}', '{"model": 1}'])
def test_a_file_that_is_no_tokenizer_is_one_line(of_a, tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BadInput, match="tokenizer.json") as caught:
        read_pretrained(str(of_a), str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"tokenizer": "words"}, {"tokenizer_sha256": 3}])
def test_a_damaged_statement_is_one_line(of_a, tmp_path, change):
    pretrained.main(["export", f"checkpoint={of_a}", f"out={tmp_path / 'hf'}"])
    path = tmp_path / "hf/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadInput, match="config.json: tokenizer: found"):
        read_pretrained(str(tmp_path / "hf"))
