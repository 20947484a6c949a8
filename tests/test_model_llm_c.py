"""A checkpoint of llm.c, written here kind by kind, is read as the network that it was made of."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import BadInput
from model import pretrained
from model.config import GPTConfig
from model.gpt import GPT
from model.pretrained import read_pretrained

TINY = GPTConfig(n_layer=3, n_head=2, n_embd=8, block_size=12, vocab_size=250, init_std=0.1)


def perturbed() -> GPT:
    """A network whose biases and gains count too."""
    generator = torch.Generator().manual_seed(0)
    network = GPT(TINY, generator)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name != "wte.weight":
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.1, generator=generator))
    return network.eval()


def write(path: Path, network: GPT, version: int = 3) -> None:
    """As llm.c's train_gpt2.py writes it: 16 kinds of weights, each over all layers."""
    header = np.zeros(256, "<i4")
    header[:8] = 20240326, version, 12, 250, 3, 2, 8, 256
    blocks = network.h
    kinds = [
        [network.wte.weight], [network.wpe.weight],
        [b.ln_1.weight for b in blocks], [b.ln_1.bias for b in blocks],
        [b.attn.c_attn.weight for b in blocks], [b.attn.c_attn.bias for b in blocks],
        [b.attn.c_proj.weight for b in blocks], [b.attn.c_proj.bias for b in blocks],
        [b.ln_2.weight for b in blocks], [b.ln_2.bias for b in blocks],
        [b.mlp.c_fc.weight for b in blocks], [b.mlp.c_fc.bias for b in blocks],
        [b.mlp.c_proj.weight for b in blocks], [b.mlp.c_proj.bias for b in blocks],
        [network.ln_f.weight], [network.ln_f.bias],
    ]  # fmt: skip
    weights = torch.cat([weight.detach().flatten() for kind in kinds for weight in kind])
    if version == 5:
        raw = weights.bfloat16().view(torch.int16).numpy().tobytes()
    else:
        raw = weights.numpy().tobytes()
    path.write_bytes(header.tobytes() + raw)


def test_llm_c_weights_come_back_and_train_on(tmp_path) -> None:
    """The weights come back and go on."""
    network = perturbed()
    write(tmp_path / "model.bin", network)
    found = read_pretrained(str(tmp_path / "model.bin"))
    assert found.config.padded_vocab_size == 256 and found.config.n_layer == 3
    for name, weight in network.state_dict().items():
        assert torch.equal(found.state[name], weight), name
    words = [f"checkpoint={tmp_path / 'model.bin'}", f"out={tmp_path / 'ours'}"]
    assert pretrained.main(["import", *words]) == 0
    back = read_pretrained(str(tmp_path / "ours")).network()
    tokens_BT = torch.arange(12)[None]
    with torch.no_grad():
        torch.testing.assert_close(back(tokens_BT), network(tokens_BT))


def test_llm_c_reads_bfloat16_exactly(tmp_path) -> None:
    """Bfloat16 is read exactly."""
    network = perturbed()
    write(tmp_path / "model.bin", network, version=5)
    found = read_pretrained(str(tmp_path / "model.bin"))
    for name, weight in network.state_dict().items():
        assert torch.equal(found.state[name], weight.bfloat16().float()), name


@pytest.mark.parametrize(("change", "complaint"), [
    (lambda raw: raw[:-4], r"found \d+ bytes, expected \d+$"),
    (lambda raw: raw + b"\0\0", r"found \d+ bytes, expected \d+$"),
    (lambda raw: raw[:2000], r"found 2000 bytes, expected \d+$"),
    (lambda raw: raw[:7], r"found 7 bytes, expected a header of 1024 bytes and weights"),
    (lambda raw: raw[:1000], r"found 1000 bytes, expected a header of 1024 bytes and weights"),
    (lambda raw: b"", "found 0 bytes, expected a header"),
    (lambda raw: raw[:16] + (1 << 30).to_bytes(4, "little") + raw[20:], "expected 3745211491776"),
    (lambda raw: b"abc" * 9, "found magic .* expected a model of llm.c"),
    (lambda raw: b"\x1f\x8b" + raw[2:], "found magic .* expected a model of llm.c"),
    (lambda raw: raw[:4] + b"\x09" + raw[5:], "version 9, expected"),
    (lambda raw: raw[:20] + bytes(4) + raw[24:], "n_head: found 0"),
])  # fmt: skip
def test_llm_c_refuses_what_is_no_checkpoint_in_one_line(tmp_path, change, complaint) -> None:
    """What is no such checkpoint is one line."""
    write(tmp_path / "model.bin", perturbed())
    raw = (tmp_path / "model.bin").read_bytes()
    (tmp_path / "model.bin").write_bytes(change(raw))
    with pytest.raises(BadInput, match=complaint) as caught:
        read_pretrained(str(tmp_path / "model.bin"))
    assert "\n" not in str(caught.value)
