"""Checkpoints as nanoGPT and build-nanogpt save them: read whole, without running their code."""

import pickle
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.errors import BadInput
from model import pretrained
from model.pretrained import read_pretrained
from tests.support.tiny_training import prepared_config, train_once

SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 16, "vocab_size": 256}
TOKENS_BT = torch.arange(24).reshape(2, 12) + 90


class Theirs(nn.Module):
    """A network by the names of nanoGPT's, written from GPT-2's definition; `bias` as there."""

    def __init__(self, shape: dict[str, int], bias: bool) -> None:
        super().__init__()
        width, self.n_head = shape["n_embd"], shape["n_head"]
        block = {
            "ln_1": nn.LayerNorm(width, bias=bias),
            "attn": nn.ModuleDict({"c_attn": nn.Linear(width, 3 * width, bias=bias),
                                   "c_proj": nn.Linear(width, width, bias=bias)}),
            "ln_2": nn.LayerNorm(width, bias=bias),
            "mlp": nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width, bias=bias),
                                  "c_proj": nn.Linear(4 * width, width, bias=bias)}),
        }  # fmt: skip
        layers = [pickle.loads(pickle.dumps(nn.ModuleDict(block))) for _ in range(shape["n_layer"])]
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(shape["vocab_size"], width),
            "wpe": nn.Embedding(shape["block_size"], width),
            "h": nn.ModuleList(layers),
            "ln_f": nn.LayerNorm(width, bias=bias),
        })  # fmt: skip
        self.lm_head = nn.Linear(width, shape["vocab_size"], bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0.3, 0.3)
        self.lm_head.weight = self.transformer["wte"].weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits, one head and one position at a time."""
        parts = self.transformer
        x = parts["wte"](tokens) + parts["wpe"].weight[: tokens.shape[1]]
        for block in parts["h"]:
            qkv = block["attn"]["c_attn"](block["ln_1"](x)).chunk(3, -1)
            heads = zip(*(part.chunk(self.n_head, -1) for part in qkv), strict=True)
            mixed = []
            for q, k, v in heads:
                weight = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
                ahead = torch.ones(weight.shape[1:]).triu(1).bool()
                mixed.append(weight.masked_fill(ahead, -torch.inf).softmax(-1) @ v)
            x = x + block["attn"]["c_proj"](torch.cat(mixed, -1))
            h = F.gelu(block["mlp"]["c_fc"](block["ln_2"](x)), approximate="tanh")
            x = x + block["mlp"]["c_proj"](h)
        return self.lm_head(parts["ln_f"](x))


def network(bias: bool = True, **shape: int) -> Theirs:
    torch.manual_seed(0)
    return Theirs(SHAPE | shape, bias).eval()


def nano_gpt(path: Path, theirs: Theirs, bias: bool, prefix: str = "", **shape: int) -> Path:
    """A file as nanoGPT's train.py saves it."""
    optimizer = torch.optim.AdamW(theirs.parameters())
    theirs(TOKENS_BT).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    state = {prefix + name: weight for name, weight in theirs.state_dict().items()}
    values = {
        "model": state,
        "optimizer": optimizer.state_dict(),
        "model_args": SHAPE | {"bias": bias, "dropout": 0.0} | shape,
        "iter_num": 7,
        "best_val_loss": torch.tensor(3.2),
        "config": {"out_dir": "out", "n_layer": 2, "learning_rate": 6e-4, "compile": True},
    }
    torch.save(values, path)
    return path


@pytest.fixture
def their_class(monkeypatch):
    """The class GPTConfig of a train_gpt2.py, importable while the file is written only."""
    module = types.ModuleType("train_gpt2")

    @dataclass
    class GPTConfig:
        block_size: int = 16
        vocab_size: int = 256
        n_layer: int = 2
        n_head: int = 2
        n_embd: int = 16

    GPTConfig.__module__, GPTConfig.__qualname__ = "train_gpt2", "GPTConfig"
    module.GPTConfig = GPTConfig  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "train_gpt2", module)
    return GPTConfig


def logits(source: Path) -> torch.Tensor:
    with torch.no_grad():
        ours = read_pretrained(str(source)).network()
        return ours(TOKENS_BT)[..., : ours.config.vocab_size]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod."])
def test_nano_gpt_computes_what_its_network_computed(tmp_path, bias, prefix):
    """With biases or without, compiled or not, the logits are those of the network saved."""
    theirs = network(bias)
    path = nano_gpt(tmp_path / "ckpt.pt", theirs, bias, prefix)
    with torch.no_grad():
        expected = theirs(TOKENS_BT)
    for source in (path, tmp_path):  # the file, or nanoGPT's out_dir
        torch.testing.assert_close(logits(source), expected, rtol=1e-4, atol=1e-4)
    assert read_pretrained(str(path)).tokenizer == "bytes"


def test_nano_gpt_padded_vocabulary_is_that_of_gpt2(tmp_path):
    """Of 50,304 rows those of GPT-2's tokenizer remain."""
    theirs = network(vocab_size=50304)
    path = nano_gpt(tmp_path / "ckpt.pt", theirs, True, vocab_size=50304)
    found = read_pretrained(str(path))
    assert (found.config.vocab_size, found.tokenizer) == (50257, "gpt2")
    with torch.no_grad():
        expected = theirs(TOKENS_BT)[..., :50257]
    torch.testing.assert_close(logits(path), expected, rtol=1e-4, atol=1e-4)


def test_build_nanogpt_is_read_without_its_class(tmp_path, monkeypatch, their_class):
    """A config that is an object of another program's class gives its fields and runs nothing."""
    theirs = network()
    state = theirs.state_dict() | {"transformer.h.0.attn.bias": torch.ones(1, 1, 16, 16)}
    values = {"model": state, "config": their_class(), "step": 19072, "val_loss": 3.1}
    torch.save(values, tmp_path / "model_19072.pt")
    monkeypatch.delitem(sys.modules, "train_gpt2")
    with torch.no_grad():
        expected = theirs(TOKENS_BT)
    got = logits(tmp_path / "model_19072.pt")
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nano_gpt_runs_no_code_of_a_file_and_names_its_class(tmp_path):
    """A file that would run code is refused, names what, and has run nothing."""
    path = tmp_path / "ckpt.pt"
    torch.save({"model": {}, "model_args": Trap(tmp_path / "ran")}, path)
    with pytest.raises(BadInput, match=r"object of \S*(Path|getattr)\S* in it.*save it") as caught:
        read_pretrained(str(path))
    assert "\n" not in str(caught.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("change", "complaint"), [
    ({"model_args": None}, "found model, optimizer, model_args, iter_num, best_val_loss, ..."),
    ({"model": 3}, "expected model and model_args"),
    ({"model_args": SHAPE | {"n_kv_head": 1}}, "n_kv_head: found 1"),
    ({"model_args": SHAPE | {"n_layer": 3}}, "h: found weights of 2 layers"),
    ({"model_args": SHAPE | {"vocab_size": 300}}, "wte.weight: found shape"),
    ({"model_args": SHAPE | {"block_size": 10**12}}, "wpe.weight: found shape"),
    ({"model_args": {"n_layer": 2}}, "n_head: missing"),
    ({"model": {"transformer.wte.weight": 1}}, "without a tensor"),
    ({"model": {}}, "h: found weights of 0 layers"),
    ({"model": {"transformer.wte.weight": torch.tensor([[1.0, torch.nan]])}}, "found nan or inf"),
    ({"model": {"transformer.wte.weight": torch.tensor([[1.0, -torch.inf]])}}, "found nan or inf"),
])  # fmt: skip
def test_nano_gpt_refuses_what_does_not_fit_in_one_line(tmp_path, change, complaint):
    """What does not fit is refused by name, in one line."""
    path = nano_gpt(tmp_path / "ckpt.pt", network(), True)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(BadInput, match=complaint) as caught:
        read_pretrained(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -1])
def test_nano_gpt_refuses_a_cut_or_strange_file(tmp_path, keep):
    """A file cut short, or of another kind, is refused in one line."""
    path = nano_gpt(tmp_path / "ckpt.pt", network(), True)
    for content in (path.read_bytes()[:keep], b"some text", pickle.dumps({"model": 1})):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="cannot be read: ") as caught:
            read_pretrained(str(path))
        assert "\n" not in str(caught.value)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(BadInput, match="looks like a Git LFS pointer; run git lfs pull; expected"):
        read_pretrained(str(path))


def test_nano_gpt_begins_a_training_and_is_exported(tmp_path, capsys):
    """Its weights begin a training, which says how GELU is taken, and they go out to others."""
    path = nano_gpt(tmp_path / "ckpt.pt", network(), True)
    config = prepared_config(tmp_path, init_from=str(path))
    assert train_once(config, tmp_path / "trial").status == "done"
    log = next((tmp_path / "trial").glob("attempt-*/log.txt")).read_text()
    assert "began with the weights of" in log and "GELU" in log
    pytest.importorskip("safetensors")
    assert pretrained.main(["export", f"checkpoint={path}", f"out={tmp_path / 'hf'}"]) == 0
    assert "GELU" in capsys.readouterr().out
    torch.testing.assert_close(logits(tmp_path / "hf"), logits(path))
