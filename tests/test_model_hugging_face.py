"""Our network and transformers' are one function, and weights travel both ways unchanged."""

import os

import pytest
import torch

from common.errors import BadInput
from model.config import GPTConfig
from model.gpt import GPT
from model.hugging_face import from_hugging_face, to_hugging_face

os.environ["HF_HUB_OFFLINE"] = "1"

TINY = GPTConfig(n_layer=3, n_head=4, n_embd=48, block_size=20, vocab_size=250, init_std=0.1)


def perturbed() -> GPT:
    """A network whose biases and gains count too."""
    generator = torch.Generator().manual_seed(0)
    network = GPT(TINY, generator)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name != "wte.weight":
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.1, generator=generator))
    return network


def test_hugging_face_logits_and_loss_equal_those_of_transformers() -> None:
    """Logits and loss equal those of transformers."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=250,
            n_positions=20,
            n_embd=48,
            n_layer=3,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )
    network = perturbed()
    theirs.load_state_dict(to_hugging_face(network.state_dict(), TINY))
    tokens_BT = torch.randint(250, (4, 20), generator=torch.Generator().manual_seed(1))
    output = theirs(tokens_BT, labels=tokens_BT)
    logits_BTV = network(tokens_BT)[..., :250]
    torch.testing.assert_close(logits_BTV, output.logits, rtol=1e-5, atol=1e-5)
    loss = network(tokens_BT[:, :-1], tokens_BT[:, 1:])  # theirs shifts the labels itself
    torch.testing.assert_close(loss, output.loss, rtol=1e-5, atol=1e-5)

    back = from_hugging_face(theirs.state_dict(), TINY)
    for name, weight in network.state_dict().items():
        assert torch.equal(back[name], weight), name


def test_hugging_face_reads_old_checkpoints_without_head_or_prefix() -> None:
    """Old checkpoints without head or prefix are read."""
    state = to_hugging_face(perturbed().state_dict(), TINY)
    del state["lm_head.weight"]
    old = {name.removeprefix("transformer."): weight for name, weight in state.items()}
    old["h.0.attn.bias"] = torch.ones(1, 1, 20, 20)
    GPT(TINY, None).load_state_dict(from_hugging_face(old, TINY))


@pytest.mark.parametrize(
    ("name", "weight", "message"),
    [
        ("transformer.h.1.ln_2.bias", None, "h.1.ln_2.bias: not found"),
        ("transformer.wte.weight", None, "wte.weight: not found"),
        ("transformer.extra", torch.ones(1), "extra: found, but GPT-2 has no such weight"),
        ("transformer.wpe.weight", torch.ones(21, 48), r"wpe.weight: .*\(21, 48\).*\(20, 48\)"),
        ("transformer.wte.weight", torch.ones(300, 48), "lm_head.weight: found weights of its own"),
    ],
)
def test_hugging_face_refuses_weights_of_another_network(
    name: str, weight: torch.Tensor | None, message: str
) -> None:
    """Weights of another network are refused."""
    state = to_hugging_face(perturbed().state_dict(), TINY)
    if weight is None:
        del state[name]
    else:
        state[name] = weight
    with pytest.raises(BadInput, match=message):
        from_hugging_face(state, TINY)
