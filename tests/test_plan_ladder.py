"""The two families of shapes, and what every rung owes the model."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from common.errors import BadInput
from model.config import GPTConfig
from model.flops import params_effective, params_non_embedding, params_total
from scaling.plan.ladder import rungs, spread
from tests.support.plan_examples import QUICKSTART

BASE, GRID = QUICKSTART


def sizes(shapes):
    return [params_effective(shape) for shape in shapes]


TOY = GPTConfig(n_layer=2, n_head=1, n_embd=16, block_size=64, vocab_size=256, init_std=0.02)

LADDERS = ("grow", "fixed_depth")


def test_spread_takes_rungs_nearest_to_geometric_row():
    """A span takes the rungs nearest a geometric row."""
    ladder = rungs("fixed_depth", BASE.model)
    every = sizes(ladder)
    chosen = sizes(spread(ladder, every[1], every[9], 5))
    assert chosen == sorted(set(chosen)) and len(chosen) == 5
    assert (chosen[0], chosen[-1]) == (every[1], every[9])
    ratio = (every[9] / every[1]) ** 0.25
    steps = [math.log(high / low) for low, high in zip(chosen, chosen[1:], strict=False)]
    assert all(0.5 * math.log(ratio) < step < 1.6 * math.log(ratio) for step in steps)
    assert spread(ladder, 1, 2, 99) == list(ladder)
    assert sizes(spread(ladder, every[3], every[3], 1)) == [every[3]]


def test_spread_below_ladder_takes_its_foot():
    """A row below the ladder takes its foot."""
    ladder = rungs("fixed_depth", BASE.model)
    assert spread(ladder, 1, 10, 3) == list(ladder[:3])


@pytest.mark.parametrize("name", LADDERS)
def test_rungs_have_two_layers_or_more(name):
    """Every rung is a gpt2 of two layers or more."""
    ladder = rungs(name, TOY)
    for shape in ladder:
        assert shape.n_layer >= 2
        assert shape.n_embd % shape.n_head == 0
        assert (shape.block_size, shape.vocab_size, shape.init_std) == (64, 256, 0.02)
    for small, large in pairwise(ladder):
        assert 1.3 < params_effective(large) / params_effective(small) < 4.5


def test_rungs_of_grow_meet_gpt2():
    """Grow has heads of 64 and of 32 below 192 and meets gpt2."""
    ladder = {(shape.n_layer, shape.n_embd): shape for shape in rungs("grow", TOY)}
    for (_, width), shape in ladder.items():
        assert width // shape.n_head == (64 if width >= 192 else 32)
        assert 32 <= width / shape.n_layer <= 64
    assert ladder[12, 768].n_head == 12
    assert ladder[48, 1600].n_head == 25


@pytest.mark.parametrize(
    ("vocab_size", "millions"),
    [(4096, (0.43, 1.45, 6.1, 16, 34, 89)), (50304, (3.4, 7.4, 17.9, 34, 58, 124))],
)
def test_rungs_of_grow_have_designed_totals(vocab_size, millions):
    """Grow has the totals it was designed for."""
    base = GPTConfig(12, 12, 768, block_size=1024, vocab_size=vocab_size, init_std=0.02)
    totals = [params_total(shape) / 1e6 for shape in rungs("grow", base)]
    assert totals[0:12:2][: len(millions)] == pytest.approx(millions, rel=0.03)
    assert totals[-1] * 1e6 == pytest.approx(1.56e9 - (50304 - vocab_size) * 1600, rel=0.01)


def test_rungs_of_fixed_depth_keep_depth_of_base():
    """Fixed depth keeps the depth of the base."""
    ladder = rungs("fixed_depth", TOY)
    assert {shape.n_layer for shape in ladder} == {2}
    assert [shape.n_embd for shape in ladder][:8] == [8, 12, 16, 24, 32, 48, 64, 96]
    heads = {shape.n_embd: shape.n_head for shape in ladder}
    assert [heads[width] for width in (8, 24, 32, 48, 64, 96, 128)] == [1, 1, 2, 2, 2, 3, 4]


def test_rungs_refuse_one_layer():
    """A fixed depth of one layer is refused."""
    with pytest.raises(BadInput, match=r"model.n_layer: found 1, expected 2 or more"):
        rungs("fixed_depth", GPTConfig(1, 1, 16, 64, 256, 0.02))


@pytest.mark.parametrize("name", LADDERS)
def test_rungs_of_other_architectures_are_of_gpt2s_sizes(name):
    """Arms of a sweep find a rung near each of GPT-2's: in weights of layers and in N_effective."""
    for family in ("llama", "lstm"):
        own, gpt2 = rungs(name, TOY.as_family(family)), rungs(name, TOY)
        assert len(own) == len(gpt2) and {shape.family for shape in own} == {family}
        assert sizes(own) == sorted(sizes(own))
        for shape, twin in zip(own, gpt2, strict=True):
            if name == "grow":
                ratio = params_non_embedding(shape) / params_non_embedding(twin)
                assert 0.9 < ratio < 1.1
        if name == "grow":
            for twin in gpt2[3:]:
                assert min(abs(math.log(n / params_effective(twin))) for n in sizes(own)) < 0.4


def test_rungs_of_an_lstm_have_no_heads_and_two_layers_at_most_where_they_grow():
    """A list is taken as it stands."""
    lstm = TOY.as_family("lstm")
    assert {(shape.n_layer, shape.n_head) for shape in rungs("grow", lstm)} == {(2, 0)}
    (found,) = rungs(["4x96"], lstm)
    assert (found.n_layer, found.n_embd, found.n_head) == (4, 96, 0)


def test_rungs_share_no_inner_width():
    """One hidden width for all sizes is refused, which would be another shape at each."""
    with pytest.raises(BadInput, match="^model.n_inner: found 64, expected null where a grid"):
        rungs("grow", replace(TOY, family="llama", n_inner=64))
