"""The two families of shapes, and what every rung owes the model."""

from itertools import pairwise

import pytest

from configs.errors import BadInput
from model.config import GPTConfig
from model.flops import params_effective, params_total
from scaling.plan.ladder import rungs

TOY = GPTConfig(n_layer=2, n_head=1, n_embd=16, block_size=64, vocab_size=256, init_std=0.02)
LADDERS = ("grow", "fixed_depth")


@pytest.mark.parametrize("name", LADDERS)
def test_every_rung_is_a_gpt2_of_two_layers_or_more(name):
    ladder = rungs(name, TOY)
    for shape in ladder:
        assert shape.n_layer >= 2
        assert shape.n_embd % shape.n_head == 0
        assert (shape.block_size, shape.vocab_size, shape.init_std) == (64, 256, 0.02)
    for small, large in pairwise(ladder):
        assert 1.3 < params_effective(large) / params_effective(small) < 4.5


def test_grow_has_heads_of_64_and_of_32_below_192_and_meets_gpt2():
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
def test_grow_has_the_totals_it_was_designed_for(vocab_size, millions):
    base = GPTConfig(12, 12, 768, block_size=1024, vocab_size=vocab_size, init_std=0.02)
    totals = [params_total(shape) / 1e6 for shape in rungs("grow", base)]
    assert totals[0:12:2][: len(millions)] == pytest.approx(millions, rel=0.03)
    assert totals[-1] * 1e6 == pytest.approx(1.56e9 - (50304 - vocab_size) * 1600, rel=0.01)


def test_fixed_depth_keeps_the_depth_of_the_base():
    ladder = rungs("fixed_depth", TOY)
    assert {shape.n_layer for shape in ladder} == {2}
    assert [shape.n_embd for shape in ladder][:8] == [8, 12, 16, 24, 32, 48, 64, 96]
    heads = {shape.n_embd: shape.n_head for shape in ladder}
    assert [heads[width] for width in (8, 24, 32, 48, 64, 96, 128)] == [1, 1, 2, 2, 2, 3, 4]


def test_a_fixed_depth_of_one_layer_is_refused():
    with pytest.raises(BadInput, match=r"model.n_layer: found 1, expected 2 or more"):
        rungs("fixed_depth", GPTConfig(1, 1, 16, 64, 256, 0.02))
