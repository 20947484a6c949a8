"""A column is offered for what its name means; one of which a word is a part is not."""

import pytest

from scaling.fit.table.hints import nearest, remedy, scale_of


@pytest.mark.parametrize(
    ("name", "columns", "found"),
    [
        ("params", ["params_embedding", "params_nonembedding"], "params_nonembedding"),
        ("params", ["embedding_params", "NonEmbeddingParams"], "NonEmbeddingParams"),
        ("params", ["Model Params"], "Model Params"),
        ("params", ["Batch Size (M)", "Model Size (M)"], "Model Size (M)"),
        ("params", ["Model Size (MB)", "d_m", "tok/param"], None),
        ("params", ["active_params", "params_lm_head", "tokens_per_param", "hyperparams"], None),
        ("params", ["params_M"], "params_M"),
        ("tokens", ["tokens_per_param", "vocab_tokens", "warmup_tokens", "batch_tokens"], None),
        ("tokens", ["train tokens"], "train tokens"),
        ("tokens", ["Tokens (B)"], "Tokens (B)"),
        ("loss", ["aux_loss", "z_loss", "loss_weight"], None),
        ("loss", ["train/loss", "eval/final_loss"], "eval/final_loss"),
        ("loss", ["val_ppl"], "val_ppl"),
        (
            "loss",
            ["train/CrossEntropyLoss", "eval/c4_en/CrossEntropyLoss"],
            "eval/c4_en/CrossEntropyLoss",
        ),
        ("loss", ["train/loss", "val/z_loss"], "train/loss"),
        ("loss", ["Verlust (val)"], "Verlust (val)"),
        ("tokens", ["Tokens (Mrd.)"], "Tokens (Mrd.)"),
        ("loss", ["accuracy"], None),
    ],
)
def test_nearest_goes_by_meaning(name, columns, found):
    assert nearest(name, columns) == found


def test_remedy_names_all_that_is_missing_quoted_and_in_units():
    """As a shell takes it; a perplexity, bits and a logarithm say how they are read."""
    columns = ["params_M", "Tokens (B)", "val_ppl"]
    assert remedy(["params", "tokens", "loss"], columns) == (
        "; map them, as columns.params=params_M units.params=1e6 'columns.tokens=Tokens (B)' "
        "units.tokens=1e9 columns.loss=val_ppl loss_unit=ppl"
    )
    assert remedy(["params"], ["log10_params"]).endswith('derive.params="10**log10_params"')
    assert remedy(["loss"], ["bits_per_token_loss"]).endswith(" loss_unit=bits")
    assert remedy(["loss"], ["accuracy"]) == ""


@pytest.mark.parametrize(
    ("missing", "columns", "formula"),
    [
        (
            "tokens",
            ["config.train.max_steps", "config.train.batch_size", "config.data.seq_len"],
            "config.train.max_steps*config.train.batch_size*config.data.seq_len",
        ),
        ("tokens", ["max_iters", "batch_size", "block_size"], "max_iters*batch_size*block_size"),
        ("tokens", ["tok/param"], "'tok/param'*params"),
        ("tokens", ["Tokens per Parameter"], "'Tokens per Parameter'*params"),
        ("tokens", ["param/tok"], None),
        ("tokens", ["Training Compute (EFLOP)"], "'Training Compute (EFLOP)'*1e18/(6*params)"),
        ("tokens", ["steps", "Tokens per Batch (M)"], "steps*'Tokens per Batch (M)'*1e6"),
        ("tokens", ["config.train.steps_per_epoch", "eval.batch_size", "seq_len"], None),
        ("params", ["model.n_layer", "args.d_model"], "12*model.n_layer*args.d_model**2"),
    ],
)
def test_remedy_finds_parts_in_any_folder_and_unit(missing, columns, formula):
    """A prefix that is a folder of settings, and the unit at the end, change no meaning."""
    typed = f'; compute it, as derive.{missing}="{formula}"' if formula else ""
    assert remedy([missing], columns) == typed


@pytest.mark.parametrize(
    ("column", "scale"),
    [("params_M", "1e6"), ("tokens_billions", "1e9"), ("nParams_k", "1e3"), ("params", None)],
)
def test_scale_of_is_the_unit_in_a_name(column, scale):
    assert scale_of(column) == scale
