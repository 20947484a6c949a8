"""Every field of a foreign config.json is harmless, honoured as transformers does, or refused."""

import json
import re
from pathlib import Path

import pytest
import torch

from common.errors import BadInput
from model.pretrained import read_pretrained

transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")

BASE = {"vocab_size": 300, "n_positions": 64, "n_embd": 48, "n_layer": 3, "n_head": 4}
TOKENS_BT = torch.randint(300, (2, 24), generator=torch.Generator().manual_seed(0))


def saved(folder: Path, **fields):
    """A model of transformers with these fields, saved in `folder`."""
    torch.manual_seed(0)
    ids = {"bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
    config = transformers.GPT2Config(**(BASE | ids | fields))
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    return model


def edit(folder: Path, **fields) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def logits(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return read_pretrained(str(folder)).network()(TOKENS_BT)[..., : BASE["vocab_size"]]


@pytest.mark.parametrize("fields", [
    {},
    {"reorder_and_upcast_attn": True},
    {"resid_pdrop": 0.3, "embd_pdrop": 0.3, "attn_pdrop": 0.3, "summary_first_dropout": 0.5},
    {"n_inner": 192},
    {"activation_function": "gelu_pytorch_tanh"},
    {"activation_function": "gelu_fast"},
    {"activation_function": "gelu_accurate"},
    {"dtype": "float32", "use_cache": False, "pad_token_id": 3, "num_labels": 5},
    {"n_positions": 80, "n_embd": 32, "n_layer": 1, "n_head": 2},
])  # fmt: skip
def test_config_fields_honoured_compute_what_transformers_computes(tmp_path, fields):
    """A field that is read gives transformers' logits."""
    theirs = saved(tmp_path, **fields)
    with torch.no_grad():
        expected = theirs(TOKENS_BT).logits
    torch.testing.assert_close(logits(tmp_path), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fields", [
    {"scale_attn_by_inverse_layer_idx": True},
    {"scale_attn_weights": False},
    {"tie_word_embeddings": False},
    {"layer_norm_epsilon": 1e-3},
    {"n_inner": 96},
    {"add_cross_attention": True},
    *({"activation_function": name} for name in ("gelu", "relu", "silu", "quick_gelu", "gelu_10")),
])  # fmt: skip
def test_config_fields_of_another_network_are_refused_by_name(tmp_path, fields):
    """A field that makes another network is refused by its name, in one line."""
    saved(tmp_path, **fields)
    [name] = fields
    with pytest.raises(BadInput, match=rf"config\.json: {name}: found ") as caught:
        read_pretrained(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("fields", "named"), [
    ({"model_type": "gpt_neo"}, "model_type"),
    ({"architectures": ["GPTNeoForCausalLM"]}, "architectures"),
    ({"rope_theta": 10000.0}, "rope_theta"),
    ({"rope_scaling": {"type": "linear"}}, "rope_scaling"),
    ({"auto_map": {"AutoModel": "code.Model"}}, "auto_map"),
    ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
    ({"sliding_window": 8}, "sliding_window"),
    ({"n_ctx": 32}, "n_ctx"),
    ({"hidden_size": 96}, "hidden_size"),
    ({"vocab_size": 290}, "vocab_size"),
    ({"vocab_size": 384}, "vocab_size"),  # the rows that padding would give
    ({"n_positions": 10**12}, "wpe.weight"),
    ({"n_layer": 10**9}, "n_layer"),
    ({"n_embd": 10**9}, "n_inner|n_embd"),
    ({"n_head": 5}, "n_head"),
    ({"scale_attn_weights": 0}, "scale_attn_weights"),
])  # fmt: skip
def test_config_fields_edited_or_unknown_are_refused_by_name(tmp_path, fields, named):
    """A field that does not fit the weights, or that GPT-2 does not have, is refused by name."""
    saved(tmp_path)
    edit(tmp_path, **fields)
    with pytest.raises(BadInput, match=named) as caught:
        read_pretrained(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_config_fields_absent_or_null_are_transformers_defaults(tmp_path):
    """What is absent or null has the default, and a shape may go by its other names."""
    theirs = saved(tmp_path)
    path = tmp_path / "config.json"
    shape = {"hidden_size": 48, "max_position_embeddings": 64, "num_attention_heads": 4,
             "num_hidden_layers": 3, "vocab_size": 300}  # fmt: skip
    path.write_text(json.dumps({"model_type": "gpt2", "rope_scaling": None, "n_ctx": 64} | shape))
    with torch.no_grad():
        expected = theirs(TOKENS_BT).logits
    torch.testing.assert_close(logits(tmp_path), expected, rtol=1e-4, atol=1e-4)


def test_config_fields_that_transformers_writes_itself_are_all_known(tmp_path):
    """A model saved whole, with every field of its configuration, is read."""
    model = saved(tmp_path)
    values = model.config.to_dict() | {"architectures": ["GPT2LMHeadModel"]}
    (tmp_path / "config.json").write_text(json.dumps(values, default=str))
    logits(tmp_path)


def test_config_fields_of_older_transformers_are_known(tmp_path):
    """What configurations of transformers 2 to 4 hold, as of gpt2-xl and distilgpt2, is read."""
    saved(tmp_path)
    task = {"text-generation": {"do_sample": True, "max_length": 50}}
    edit(tmp_path, n_ctx=64, n_special=0, predict_special_tokens=True, output_past=True,
         _num_labels=1, id2label={"0": "LABEL_0"}, finetuning_task=None, task_specific_params=task,
         do_sample=False, early_stopping=False, num_beams=1, num_beam_groups=1, temperature=1.0,
         top_k=50, top_p=1.0, typical_p=1.0, repetition_penalty=1.0, diversity_penalty=0.0,
         length_penalty=1.0, no_repeat_ngram_size=0, encoder_no_repeat_ngram_size=0, min_length=0,
         max_length=20, bad_words_ids=None, num_return_sequences=1, output_scores=False,
         return_dict_in_generate=False, forced_bos_token_id=None, remove_invalid_values=False,
         is_decoder=False, is_encoder_decoder=False, tie_encoder_decoder=False, pruned_heads={},
         cross_attention_hidden_size=None, chunk_size_feed_forward=0, torchscript=False,
         torch_dtype="bfloat16", use_bfloat16=False, tf_legacy_loss=False, tokenizer_class=None,
         gradient_checkpointing=False, prefix=None, transformers_version="4.30.0")  # fmt: skip
    logits(tmp_path)


def test_config_of_packed_weights_is_refused(tmp_path):
    """Weights in whole numbers are no weights that are read."""
    from safetensors.torch import load_file, save_file

    saved(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if re.search("c_fc.weight", name))
    weights[name] = weights[name].to(torch.int8)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match="c_fc.weight: found torch.int8"):
        read_pretrained(str(tmp_path))
