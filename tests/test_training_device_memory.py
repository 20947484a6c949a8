"""The rules of memory: what a micro-batch takes, what fits a GPU, and what an evaluation may."""

from dataclasses import replace

import pytest
import torch

from common.errors import BadInput
from model.config import GPTConfig
from model.network import build_network
from tests.support.tiny_training import built_state, prepared_config, tiny_config
from training.device.memory import (
    COMPILED,
    Computation,
    activation_bytes,
    evaluation_tokens,
    head_that_fits,
    micro_batch_by_rule,
    safe_micro_batch_tokens,
    tokens_that_fit,
    too_large,
    usable_bytes,
)
from training.evaluate import held_out_loss


def gpt(n_layer: int, n_head: int, n_embd: int) -> GPTConfig:
    return GPTConfig(n_layer, n_head, n_embd, 1024, vocab_size=50257, init_std=0.02)


GPT_124M, GPT_350M, GPT_1558M = gpt(12, 12, 768), gpt(24, 16, 1024), gpt(48, 25, 1600)
EAGER = Computation(compiled=False)
BATCH = 480  # sequences of half a million tokens


def usable(gigabytes: float, share: float = 1.0) -> int:
    return usable_bytes(int(gigabytes * 1e9), share)


@pytest.mark.parametrize(
    ("model", "gigabytes"), [(GPT_124M, 24), (GPT_350M, 40), (GPT_1558M, 80), (GPT_1558M, 40)]
)
def test_logits_are_kept_whole_where_they_fit(model, gigabytes):
    """The chunked head, which takes longer, is not for a card that holds the plain one."""
    assert head_that_fits(model, BATCH * 1024, usable(gigabytes)) == "plain"


@pytest.mark.parametrize(
    ("model", "gigabytes", "sequences"),
    [(GPT_124M, 80, 60), (GPT_124M, 150, 60), (GPT_124M, 24, 32), (GPT_1558M, 80, 12)],
)
def test_micro_batch_fills_the_memory_up_to_64_sequences(model, gigabytes, sequences):
    """Equal parts of 480 sequences: as many as fit, and no more than a GPU gains by."""
    found = micro_batch_by_rule(model, BATCH, "cuda", usable(gigabytes))
    assert found == sequences
    taken = found * 1024 * activation_bytes(model)
    assert taken < usable(gigabytes) / 1.3


def test_eager_mode_and_float32_take_more():
    """What is not compiled writes logits down several times; float32 takes four bytes for two."""
    sizes = [
        activation_bytes(GPT_124M, "plain", how)
        for how in (COMPILED, EAGER, replace(COMPILED, precision="float32"))
    ]
    assert sizes[1] > 2 * sizes[0] and 1.5 * sizes[0] < sizes[2] < 2 * sizes[0]
    by_head = [activation_bytes(GPT_124M, "chunked", how) for how in (COMPILED, EAGER)]
    assert by_head[0] == by_head[1] < sizes[0]
    assert tokens_that_fit(GPT_124M, usable(24), "plain", EAGER) < tokens_that_fit(
        GPT_124M, usable(24)
    )


def test_trials_that_share_a_gpu_fill_it_together_and_no_more(tmp_path):
    """So many shares as there are trials are less than the whole."""
    for packed in (1, 2, 4):
        share = usable(40, 1 / packed)
        assert packed * share < 40e9
        fitting = micro_batch_by_rule(GPT_124M, BATCH, "cuda", share)
        state = 18 * 124_475_904
        assert packed * (state + fitting * 1024 * activation_bytes(GPT_124M)) < 40e9
    assert usable(0.5) == 0
    with pytest.raises(BadInput, match="runtime.memory_share: found 1.5, expected more than 0"):
        tiny_config(tmp_path, runtime__memory_share=1.5)


def test_a_model_too_large_for_its_share_is_told_of_it(tmp_path):
    """Fewer trials on a device would leave it more."""
    shared = tiny_config(tmp_path, runtime__memory_share=0.25)
    assert "fewer trials on a device" in too_large(shared, "plain", 2**30)
    assert "fewer trials" not in too_large(tiny_config(tmp_path), "plain", 2**30)


@pytest.mark.parametrize("model", [GPT_124M, GPT_350M, GPT_1558M, gpt(6, 4, 256)])
@pytest.mark.parametrize("gigabytes", [40, 80, 150])
def test_evaluation_has_up_to_2_31_logits_and_never_more_memory_than_training(model, gigabytes):
    """From 40 GB on as many tokens as there are logits for; less where training has less."""
    trained = micro_batch_by_rule(model, BATCH, "cuda", usable(gigabytes))
    for how in (COMPILED, EAGER):
        tokens = evaluation_tokens(model, trained, "plain", COMPILED, how)
        assert tokens * model.padded_vocab_size <= 2**31
        layer = activation_bytes(replace(model, n_layer=1), "plain", how)
        assert tokens * layer <= trained * 1024 * activation_bytes(model)
    fitting = evaluation_tokens(model, trained, "plain", COMPILED, COMPILED)
    assert fitting == 2**31 // model.padded_vocab_size or model is GPT_1558M
    assert fitting > 4 * safe_micro_batch_tokens(model, "cuda")
    few = evaluation_tokens(model, 1, "plain", COMPILED, COMPILED)
    assert 1024 <= few < fitting


def test_evaluation_on_a_cpu_is_in_small_parts():
    """There a pass is no quicker for being large."""
    how = Computation("float32", False, "cpu")
    assert evaluation_tokens(GPT_124M, 8, "plain", how, how) == 2**27 // 50304


@pytest.mark.parametrize("micro_batch_tokens", [16, 80, 16 * 37])
def test_held_out_loss_does_not_depend_on_its_micro_batch(
    tmp_path, monkeypatch, micro_batch_tokens
):
    """The rule changes which windows go through the network together, and no more."""
    state = built_state(prepared_config(tmp_path))
    expected = held_out_loss(state)
    monkeypatch.setattr("training.evaluate.evaluation_tokens", lambda *_: micro_batch_tokens)
    assert held_out_loss(state) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "lstm"])
def test_activations_of_a_family_are_those_that_autograd_keeps(family):
    """On a CPU in float32, in eager mode: what saved tensors hold, within 1.3 of the rule."""
    model = replace(gpt(3, 4, 128), block_size=64, vocab_size=128).as_family(family)
    network = build_network(model, torch.Generator().manual_seed(0))
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens_BT = torch.zeros(4, 64, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(tokens_BT, tokens_BT)
    loss.backward()
    found = sum(size for place, size in kept.items() if place not in weights)
    by_rule = 256 * activation_bytes(model, "plain", Computation("float32", False, "cpu"))
    assert by_rule / 1.3 < found < 1.3 * by_rule
