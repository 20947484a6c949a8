"""The verdict on a rate that should carry over, on losses made up with a known optimum."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.plan.ladder import base_shape
from scaling.plan.transfer import TunedCell, transfer, verdict
from scaling.plan.trial_config import cell_config
from tests.support.plan_examples import QUICKSTART

BASE, GRID = QUICKSTART


def cells(per_doubling: float, widths: tuple[int, ...] = (32, 64, 128)) -> list[TunedCell]:
    return [
        TunedCell(width, 1e6, 512, 0.01 * per_doubling ** np.log2(width / 64), 2.0)
        for width in widths
    ]


@pytest.mark.parametrize("per_doubling", [1.0, 1.1, 0.9])
def test_transfer_of_a_rate_that_stays(per_doubling: float) -> None:
    """Within half a step of the rates tried over all widths."""
    found = transfer(cells(per_doubling))
    assert found and found.carries_over
    assert found.per_doubling == pytest.approx(per_doubling, rel=0.02)
    assert found.text.startswith("the rate transfers: its optimum moves x")


@pytest.mark.parametrize("per_doubling", [0.5, 0.75, 1.5, 2.1])
def test_transfer_of_a_rate_that_moves(per_doubling: float) -> None:
    """The optimum's own move is found and said."""
    found = transfer(cells(per_doubling))
    assert found and not found.carries_over
    assert found.per_doubling == pytest.approx(per_doubling, rel=0.02)
    text = f"the rate does not transfer: its optimum moves x{found.per_doubling:.2g} per doubling"
    assert found.text == f"{text} of width from 32 to 128"


def test_transfer_of_fewer_than_three_widths_is_no_verdict() -> None:
    """Two budgets at one width are one width."""
    assert transfer(cells(1.0, (32, 64))) is None
    assert transfer(cells(1.0, (32, 64, 64))) is None


def test_verdict_needs_cells_of_one_d_and_batch() -> None:
    """The best rate moves with both, which is no matter of width."""
    alike = cells(1.0)
    assert str(verdict(alike, asked=False, named=True)).startswith("the rate transfers: ")
    assert verdict(alike, asked=False, named=False) is None
    for change, said in (
        ({"tokens": 5e6}, "tokens by x5;"),
        ({"batch_tokens": 1024}, "batches by x2;"),
    ):
        other = [replace(alike[0], **change), *alike[1:]]
        assert verdict(other, asked=False, named=True) is None
        text = str(verdict(other, asked=True, named=False))
        assert text.startswith("no verdict on whether the rate transfers: the cells differ in ")
        assert said in text and "grid.tuning.cells" in text


def test_verdict_says_how_many_widths_have_an_optimum() -> None:
    """One lost to the end of the rates tried is no verdict, and that is said."""
    lost = [replace(cells(1.0)[0], lr=None), *cells(1.0)[1:]]
    assert "2 widths of those tried have an optimum" in str(verdict(lost, False, named=True))
    assert "1 width of those tried has an optimum" in str(verdict(lost[:2], True, named=False))
    assert "0 widths" in str(verdict([], asked=True, named=False))


def test_transfer_of_a_cell_has_the_rate_and_scale_of_the_base() -> None:
    """With muP a rule of the width is asked at the base; without, at the cell's own."""
    own = [replace(BASE.model, n_embd=width, n_head=1) for width in (32, 64)]
    by_base = [replace(shape, parametrization="mup", base_width=32) for shape in own]
    standard, mup = (
        [cell_config(BASE, GRID, 4e11, shape, None) for shape in shapes]
        for shapes in (own, by_base)
    )
    assert not any(isinstance(config, str) for config in (*standard, *mup))
    assert mup[0].optimizer.lr == mup[1].optimizer.lr == standard[0].optimizer.lr
    assert mup[0].model.init_std == mup[1].model.init_std == standard[0].model.init_std
    assert standard[1].optimizer.lr != standard[0].optimizer.lr
    assert mup[1].schedule == standard[1].schedule
    assert base_shape(own[1]) is own[1]
    deep = replace(by_base[1], parametrization="completep", base_depth=3)
    assert (base_shape(deep).n_layer, base_shape(deep).n_embd) == (3, 32)
