"""Our LLaMA and transformers' are one function, and weights travel both ways unchanged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import BadInput
from model.config import GPTConfig
from model.hugging_face import from_hugging_face, read, to_hugging_face, write
from model.llama import Llama

TINY = GPTConfig(3, 4, 48, 20, 250, 0.1, family="llama")
SHAPES = {
    "tied": TINY,
    "shared_untied": replace(TINY, n_kv_head=2, n_inner=56, tied_head=False),
}


def perturbed(config: GPTConfig) -> Llama:
    """A network whose gains count too."""
    generator = torch.Generator().manual_seed(0)
    network = Llama(config, generator)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.1, generator=generator))
    return network


def theirs_of(config: GPTConfig) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.n_embd,
            intermediate_size=config.inner_width,
            num_hidden_layers=config.n_layer,
            num_attention_heads=config.n_head,
            num_key_value_heads=config.kv_heads,
            max_position_embeddings=config.block_size,
            tie_word_embeddings=config.tied_head,
            rms_norm_eps=1e-5,
        )
    ).eval()


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_llama_logits_and_loss_equal_those_of_transformers_both_ways(config: GPTConfig) -> None:
    """Out: theirs with our weights. In: ours with weights that they drew."""
    theirs, network = theirs_of(config), perturbed(config)
    drawn = {name: weight.clone() for name, weight in theirs.state_dict().items()}
    tokens_BT = torch.randint(250, (4, 20), generator=torch.Generator().manual_seed(1))
    for ours, state in (
        (network, to_hugging_face(network.state_dict(), config)),
        (Llama(config, None), drawn),
    ):
        theirs.load_state_dict(state)
        back = from_hugging_face(theirs.state_dict(), config)
        if ours is not network:
            ours.load_state_dict(back)
        for name, weight in ours.state_dict().items():
            assert torch.equal(back[name], weight), name
        with torch.no_grad():
            output = theirs(tokens_BT, labels=tokens_BT)
            logits_BTV = ours(tokens_BT)[..., :250]
            loss = ours(tokens_BT[:, :-1], tokens_BT[:, 1:])  # theirs shifts the labels itself
        torch.testing.assert_close(logits_BTV, output.logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(loss, output.loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_llama_files_are_read_by_transformers_and_by_us(config: GPTConfig, tmp_path: Path) -> None:
    """config.json and model.safetensors say all, and so do those that transformers writes."""
    transformers = pytest.importorskip("transformers")
    network = perturbed(config)
    write(tmp_path, network.state_dict(), config, 249)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "LlamaForCausalLM"
    tokens_BT = torch.arange(20)[None]
    with torch.no_grad():
        logits_BTV = theirs(tokens_BT).logits
        torch.testing.assert_close(network(tokens_BT)[..., :250], logits_BTV, rtol=1e-5, atol=1e-5)
    theirs.save_pretrained(tmp_path / "theirs")
    for folder in (tmp_path, tmp_path / "theirs"):
        found, weights = read(folder)
        assert found == replace(config, init_std=found.init_std)
        state = from_hugging_face(weights, found)
        assert all(torch.equal(state[name], w) for name, w in network.state_dict().items())


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps: found 1e-06, expected 1e-05"),
        ({"rms_norm_eps": None}, "rms_norm_eps: found 1e-06, expected 1e-05"),
        ({"rope_theta": 500000.0}, "rope_theta: found 500000.0"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_parameters: found {'rope_type'"),
        ({"attention_bias": True}, "attention_bias: found True, expected False"),
        ({"head_dim": 16}, "head_dim times num_attention_heads: found 64, expected 48"),
        ({"hidden_act": "gelu"}, "hidden_act: found 'gelu', expected 'silu'"),
        ({"sliding_window": 8}, "sliding_window: found 8, a field that LLaMA here does not have"),
        ({"num_key_value_heads": 3}, "model.n_kv_head: found 3, expected a divisor of n_head 4"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_llama_fields_of_another_network_are_refused_by_name(
    fields: dict[str, Any], named: str, tmp_path: Path
) -> None:
    """A field that changes the network is never passed over."""
    write(tmp_path, perturbed(TINY).state_dict(), TINY, 249)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(BadInput) as refusal:
        read(tmp_path)
    assert named in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "weight", "message"),
    [
        ("model.layers.1.mlp.up_proj.weight", None, "layers.1.mlp.up_proj.weight: not found"),
        ("model.embed_tokens.weight", None, "embed_tokens.weight: not found"),
        ("model.extra", torch.ones(1), "extra: found, but LLaMA has no such weight"),
        ("lm_head.weight", torch.ones(250, 48), "lm_head.weight: found weights of its own"),
        ("model.norm.weight", torch.ones(47), r"norm.weight: found shape \(47,\)"),
    ],
    ids=["no_matrix", "no_table", "extra", "untied", "shape"],
)
def test_llama_refuses_weights_of_another_network(
    name: str, weight: torch.Tensor | None, message: str
) -> None:
    """A weight is missing, unknown, or of another shape."""
    state = to_hugging_face(perturbed(TINY).state_dict(), TINY)
    state.pop(name, None)
    if weight is not None:
        state[name] = weight
    with pytest.raises(BadInput, match=message):
        from_hugging_face(state, TINY)


def test_llama_untied_head_that_is_missing_is_named() -> None:
    """Nothing stands in for it."""
    config = SHAPES["shared_untied"]
    state = to_hugging_face(perturbed(config).state_dict(), config)
    del state["lm_head.weight"]
    with pytest.raises(BadInput, match="lm_head.weight: not found"):
        from_hugging_face(state, config)


def test_llama_is_exported_and_an_lstm_refused(tmp_path: Path) -> None:
    """transformers has no LSTM."""
    with pytest.raises(BadInput, match="found model.family lstm, expected gpt2 or llama"):
        write(tmp_path, {}, TINY.as_family("lstm"), 0)
