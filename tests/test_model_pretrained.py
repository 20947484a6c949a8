"""Weights from every place they are kept; out to transformers and back, whole or not at all."""

import json
import os
import shutil

import pytest
import torch

from common.errors import BadInput
from model import pretrained
from model.config import GPTConfig
from model.gpt import GPT
from model.pretrained import read_pretrained
from tests.support.tiny_training import prepared_config, train_once

GPT2_TINY = GPTConfig(
    n_layer=2, n_head=2, n_embd=32, block_size=64, vocab_size=50257, init_std=0.02
)


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A tiny trained trial over bytes, and its record."""
    folder = tmp_path_factory.mktemp("pretrained")
    config = prepared_config(folder)
    return folder / "trial", train_once(config, folder / "trial")


def command(*words: str) -> None:
    assert pretrained.main(list(words)) == 0


def logits(network: GPT) -> torch.Tensor:
    tokens_BT = torch.arange(32).reshape(2, 16)
    with torch.no_grad():
        return network(tokens_BT)[..., : network.config.vocab_size]


def test_pretrained_reads_a_trial_at_its_newest_checkpoint(trial):
    """A trial is read at its newest checkpoint."""
    folder, record = trial
    newest = sorted(folder.glob("attempt-*/checkpoints/step-*"))[-1]
    for source in (folder, newest):
        found = read_pretrained(str(source))
        assert found.origin == newest and found.tokenizer == "bytes"
        assert found.config.n_embd == record.n_embd


def test_pretrained_export_computes_the_same_in_transformers_and_comes_back(trial, tmp_path):
    """Transformers computes the same logits and it comes back unchanged."""
    transformers = pytest.importorskip("transformers")
    folder, _ = trial
    command("export", f"checkpoint={folder}", f"out={tmp_path / 'hf'}")
    ours = read_pretrained(str(folder)).network()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    with torch.no_grad():
        expected = theirs(torch.arange(32).reshape(2, 16)).logits
    torch.testing.assert_close(logits(ours), expected, rtol=1e-4, atol=1e-4)

    command("import", f"checkpoint={tmp_path / 'hf'}", f"out={tmp_path / 'back'}")
    back = read_pretrained(str(tmp_path / "back"))
    assert back.tokenizer == "bytes" and back.own.file is None and back.note == ""
    for name, weight in ours.state_dict().items():
        assert torch.equal(back.state[name], weight), name


@pytest.mark.needs_reference
def test_pretrained_export_has_the_tokenizer_of_gpt2(tmp_path):
    """The export has gpt2s tokenizer."""
    transformers = pytest.importorskip("transformers")
    tiktoken = pytest.importorskip("tiktoken")
    network = GPT(GPT2_TINY, torch.Generator().manual_seed(0))
    meta = {"step": 0, "config": {"model": vars(GPT2_TINY)}, "data": {"tokenizer": "gpt2"}}
    (tmp_path / "ours").mkdir()
    state = {"step": 0, "model": dict(network.state_dict())}
    pretrained.write_sealed(tmp_path / "ours", meta, state)
    command("export", f"checkpoint={tmp_path / 'ours'}", f"out={tmp_path / 'hf'}")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    encoding = tiktoken.get_encoding("gpt2")
    for text in ("Hello world  don't\n\n \u00e9 \u6f22\u5b57\t 1234", " ", "a<|endoftext|>b"):
        assert theirs(text)["input_ids"] == encoding.encode(text, allowed_special="all")
    assert theirs.eos_token_id == 50256


def test_pretrained_refuses_what_it_cannot_read_in_one_line(trial, tmp_path):
    """What cannot be read is one line."""
    folder, _ = trial
    empty, cut, gone = tmp_path / "empty", tmp_path / "cut", tmp_path / "gone"
    empty.mkdir()
    shutil.copytree(folder, gone)
    for attempt in gone.glob("attempt-*"):
        shutil.rmtree(attempt)
    newest = sorted(folder.glob("attempt-*/checkpoints/step-*"))[-1]
    shutil.copytree(newest, cut)
    (cut / "state.pt").write_bytes((cut / "state.pt").read_bytes()[:-1])
    for source, complaint in {
        empty: "found neither checkpoints of a trial nor",
        gone: "its checkpoints were removed; train with keep=final",
        cut: "damaged: found",
        tmp_path / "absent": "not found",
    }.items():
        with pytest.raises(BadInput, match=complaint) as caught:
            read_pretrained(str(source))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change, complaint", [
    ({"activation_function": "relu"}, "activation_function: found 'relu', expected 'gelu_new'"),
    ({"model_type": "opt"}, "model_type: found 'opt', expected"),
    ({"n_layer": 3}, "h: found weights of 2 layers, expected n_layer 3"),
    ({"n_embd": None}, "n_embd"),
])  # fmt: skip
def test_pretrained_refuses_another_model_by_name(trial, tmp_path, change, complaint):
    """Another model is refused by name."""
    pytest.importorskip("safetensors")
    folder, _ = trial
    command("export", f"checkpoint={folder}", f"out={tmp_path / 'hf'}")
    path = tmp_path / "hf/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadInput, match=complaint):
        read_pretrained(str(tmp_path / "hf"))


def test_pretrained_export_overwrites_nothing_and_leaves_nothing_unfinished(trial, tmp_path):
    """Nothing is overwritten and nothing half written stays."""
    folder, _ = trial
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="^out: .*there: found something there"):
        command("export", f"checkpoint={folder}", f"out={tmp_path / 'there'}")
    with pytest.raises(BadInput, match="^tokenizer: .*: not found"):
        command(
            "export", f"checkpoint={folder}", f"out={tmp_path / 'new'}", "tokenizer=/no/such.json"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_export_and_training_write_files_of_the_umask(trial, tmp_path, umask):
    """Data, trial, checkpoint and export of a user whose group shares them."""
    before = os.umask(umask)
    try:
        train_once(prepared_config(tmp_path), tmp_path / "trial")
        command("export", f"checkpoint={tmp_path / 'trial'}", f"out={tmp_path / 'out'}")
    finally:
        os.umask(before)
    written = [path for path in tmp_path.rglob("*") if not path.is_symlink()]
    names = {path.name for path in written}
    assert {"model.safetensors", "config.json", "manifest.json", "record.json"} <= names
    for path in written:
        most = 0o777 if path.is_dir() else 0o666
        assert oct(path.stat().st_mode & 0o777) == oct(most & ~umask), path
