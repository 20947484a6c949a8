"""A run may begin with given weights; another model is refused before anything is written."""

from dataclasses import replace

import pytest
import torch
from tiny_training import alone, prepared_config, train_once

import train
from configs.errors import BadInput
from model.pretrained import read_pretrained
from training.config import science, trial_id
from training.run import initial_weights


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A config, and the trial that it was trained in."""
    folder = tmp_path_factory.mktemp("initial")
    config = prepared_config(folder, 6)
    train_once(config, folder / "trial")
    return config, folder / "trial"


def test_a_run_begins_with_the_weights_it_is_given(first, tmp_path):
    config, trial = first
    # A rate too small to move a weight: what comes out is what went in.
    still = replace(config.optimizer, lr=1e-30, weight_decay=0.0)
    config = replace(config, optimizer=still, init_from=str(trial))
    train_once(config, tmp_path / "next")
    before, after = read_pretrained(str(trial)), read_pretrained(str(tmp_path / "next"))
    for name, weight in before.state.items():
        assert torch.equal(after.state[name], weight), name


def test_it_is_part_of_the_trial_and_its_absence_changes_no_id(first):
    config, trial = first
    assert trial_id(replace(config, init_from=str(trial))) != trial_id(config)
    assert "init_from" not in science(config)


def test_another_model_is_refused(first):
    config, trial = first
    wider = replace(config, model=replace(config.model, n_embd=32), init_from=str(trial))
    with pytest.raises(BadInput, match=r"^init_from: .*another model: model.n_embd: 16, now 32$"):
        initial_weights(wider)
    with pytest.raises(BadInput, match="^init_from: /no/such"):
        initial_weights(replace(config, init_from="/no/such"))


def test_nothing_is_written_for_weights_that_are_not_there(first, tmp_path):
    config, _ = first
    with pytest.raises(BadInput, match="^init_from"):
        train.train_in(replace(config, init_from="/no/such"), tmp_path / "new", alone())
    assert not (tmp_path / "new").exists()
