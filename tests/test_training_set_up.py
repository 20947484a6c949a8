"""A run may begin with given weights; another model is refused before anything is written."""

from dataclasses import replace

import pytest
import torch

import train
from common.errors import BadInput
from data.manifest import Manifest, ShardEntry, SplitEntry
from model.checkpoint_io import write_sealed
from model.gpt import GPT
from model.pretrained import read_pretrained
from tests.support.tiny_training import (
    alone,
    prepared_config,
    tiny_config,
    train_once,
    write_text,
)
from training.dataset import prepared_data
from training.set_up import initial_weights
from training.trial.identity import science, trial_id


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A config, and the trial that it was trained in."""
    folder = tmp_path_factory.mktemp("initial")
    config = prepared_config(folder, 6)
    train_once(config, folder / "trial")
    return config, folder / "trial"


def test_set_up_begins_a_run_with_the_weights_given(first, tmp_path):
    """A run begins with the weights it is given."""
    config, trial = first
    # A rate too small to move a weight: what comes out is what went in.
    still = replace(config.optimizer, lr=1e-30, weight_decay=0.0)
    config = replace(config, optimizer=still, init_from=str(trial))
    train_once(config, tmp_path / "next")
    before, after = read_pretrained(str(trial)), read_pretrained(str(tmp_path / "next"))
    for name, weight in before.state.items():
        assert torch.equal(after.state[name], weight), name


def test_set_up_initial_weights_are_part_of_the_trial_id_if_given(first):
    """It is part of the trial and its absence changes no id."""
    config, trial = first
    assert trial_id(replace(config, init_from=str(trial))) != trial_id(config)
    assert "init_from" not in science(config)


def test_set_up_refuses_weights_of_another_model(first):
    """Another model is refused."""
    config, trial = first
    manifest = prepared_data(config).manifest
    wider = replace(config, model=replace(config.model, n_embd=32), init_from=str(trial))
    with pytest.raises(BadInput, match=r"^init_from: .*another model: model.n_embd: 16, now 32$"):
        initial_weights(wider, manifest)
    with pytest.raises(BadInput, match="^init_from: /no/such"):
        initial_weights(replace(config, init_from="/no/such"), manifest)


def test_set_up_writes_nothing_for_weights_that_are_missing(first, tmp_path):
    """Nothing is written for weights that are not there."""
    config, _ = first
    with pytest.raises(BadInput, match="^init_from"):
        train.train_in(replace(config, init_from="/no/such"), tmp_path / "new", alone())
    assert not (tmp_path / "new").exists()


SPLIT = SplitEntry((ShardEntry("train_000000.bin", 1, ""),), 0, 0)
BPE_A = Manifest(1, {}, "bpe", 300, 299, {}, SPLIT, SPLIT, "a" * 64)
BPE_B, GPT2 = replace(BPE_A, tokenizer_sha256="b" * 64), replace(BPE_A, tokenizer="gpt2")


@pytest.mark.parametrize(
    ("stated", "manifest", "refused"),
    [
        (("bpe", "a" * 64), BPE_A, None),
        (("bpe", None), BPE_A, None),
        (
            ("bpe", "a" * 64),
            BPE_B,
            "found tokenizer bpe of sha256 aaaaaaaa.*, expected bpe",
        ),
        (("gpt2", None), BPE_A, "found tokenizer gpt2, expected bpe of sha256 aaaaaaaaaaaaaaaa"),
        (
            ("bpe", "a" * 64),
            GPT2,
            "found tokenizer bpe of sha256 aaaaaaaa.*, expected gpt2",
        ),
    ],
)
def test_initial_weights_of_another_tokenizer_are_refused(
    first, tmp_path, stated, manifest, refused
):
    """Of the same number of ids, and the same shape: the digest tells."""
    config, _ = first
    shape = replace(config.model, vocab_size=300)
    config = replace(config, model=shape, init_from=str(tmp_path / "weights"))
    kind, sha256 = stated
    data = {"tokenizer": kind, "tokenizer_sha256": sha256}
    (tmp_path / "weights").mkdir()
    state = {"step": 0, "model": dict(GPT(shape, None).state_dict())}
    meta = {"step": 0, "config": {"model": vars(shape)}, "data": data}
    write_sealed(tmp_path / "weights", meta, state)
    if refused:
        with pytest.raises(BadInput, match=f"^init_from: .*weights: {refused}"):
            initial_weights(config, manifest)
        return
    found = initial_weights(config, manifest)
    assert ("no digest of its tokenizer" in found.note) == (sha256 is None)


def test_a_run_from_weights_of_another_bpe_is_refused_before_it_begins(tmp_path):
    """Two corpora, two tokenizers of one size."""
    config = {}
    for name, seed in (("a", 0), ("b", 1)):
        folder = tmp_path / name
        made = tiny_config(folder, model__vocab_size=270)
        data = replace(made.data, tokenizer="bpe", vocab_size=270)
        config[name] = replace(made, data=data)
        write_text(folder / "text", seed=seed)
    (tmp_path / "b/text/00.txt").write_text("other words: " + "zebra quagga okapi " * 400)
    train_once(config["a"], tmp_path / "trial")
    train_once(replace(config["a"], init_from=str(tmp_path / "trial")), tmp_path / "next")
    other = replace(config["b"], init_from=str(tmp_path / "trial"))
    with pytest.raises(BadInput, match="init_from: .*found tokenizer bpe of sha256"):
        train.train_in(other, tmp_path / "new", alone())
    assert not (tmp_path / "new").exists()
