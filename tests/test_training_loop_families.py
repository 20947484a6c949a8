"""A trial of every family trains, resumes to the same bits, and is read and sampled again."""

from dataclasses import replace

import pytest

from common.errors import StopRequested
from model.families import FAMILIES
from model.flops import params_non_embedding
from model.pretrained import read_pretrained
from tests.support.tiny_training import (
    built_state,
    prepared_config,
    stopping,
    train_once,
)
from training.optimizer import build_optimizer
from training.sample import Words, write_samples

OTHERS = sorted(set(FAMILIES) - {"gpt2"})


def config_of(folder, family, steps=4, **changes):
    config = prepared_config(folder, steps, **changes)
    return replace(config, model=config.model.as_family(family))


@pytest.mark.parametrize("family", OTHERS)
def test_loop_trains_a_family_and_resumes_it_to_the_same_bits(tmp_path, family):
    """Its checkpoint is the whole state, its record names it, and it writes text."""
    config = config_of(tmp_path, family)
    whole = train_once(config, tmp_path / "whole")
    assert whole.family == family and whole.loss < 5.53  # ln 256 is 5.55
    for _ in range(3):
        with pytest.raises(StopRequested):
            train_once(config, tmp_path / "stopped", stopping)
    resumed = train_once(config, tmp_path / "stopped")
    lasts = [last for last, _ in whole.loss_by_position]
    assert lasts == [1, 2, 3, 4, 6, 8, 12, 16]
    assert resumed.loss_by_position == whole.loss_by_position
    assert resumed.weights_digest == whole.weights_digest and resumed.loss == whole.loss

    found = read_pretrained(str(tmp_path / "whole"))
    assert found.config == config.model
    words = Words(str(tmp_path / "whole"), prompt="ab", tokens=5, device="cpu")
    assert write_samples(words, found)[0].startswith("ab")
    again = train_once(replace(config, init_from=str(tmp_path / "whole")), tmp_path / "again")
    assert again.loss < whole.loss


@pytest.mark.parametrize("family", OTHERS)
def test_loop_trains_a_family_in_bf16(tmp_path, family):
    """Within the rounding of its products."""
    losses = [
        train_once(config_of(tmp_path, family, precision=precision), tmp_path / precision).loss
        for precision in ("float32", "bf16")
    ]
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("tied", [True, False])
def test_loop_gives_muon_the_matrices_of_layers_alone(tmp_path, family, tied):
    """Neither table nor head; AdamW decays what has two dimensions or more."""
    config = config_of(tmp_path, family)
    if "tied_head" in FAMILIES[family].fields:
        config = replace(config, model=replace(config.model, tied_head=tied))
    network = built_state(config).model
    names = {id(weight): name for name, weight in network.named_parameters()}
    muon, decayed, free = build_optimizer(
        network, replace(config.optimizer, name="muon")
    ).param_groups
    ends = {"wte.weight", "wpe.weight", "embed_tokens.weight", "lm_head.weight"}
    of_muon = {names[id(p)] for p in muon["params"]}
    assert {names[id(p)] for p in decayed["params"]} == ends & set(names.values())
    assert not of_muon & ends and all(p.ndim == 2 for p in muon["params"])
    assert all(p.ndim == 1 for p in free["params"])
    assert sum(p.numel() for p in muon["params"]) == params_non_embedding(config.model)
    assert len(of_muon) + len(decayed["params"]) + len(free["params"]) == len(names)
