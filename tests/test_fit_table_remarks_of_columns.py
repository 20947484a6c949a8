"""What a table's columns seem to be is told, and what needs no telling is not."""

import math

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.table.inputs import read_inputs, read_sources
from scaling.fit.table.loss_unit import rising
from tests.support.fit_examples import config, isoflop_rows, write_csv
from tests.support.fit_tables import ROWS, admitted

PLAIN = [{name: row[name] for name in ("run_id", "params", "tokens", "loss")} for row in ROWS]


def flags(path, *overrides):
    """The flags of reading a table, by code."""
    asked = config(f"runs={path}", *overrides)
    sources = read_sources(asked)
    return [(flag.code, flag.text) for flag in (*sources.flags, *read_inputs(asked, sources).flags)]


def table(tmp_path, change):
    return write_csv(tmp_path / "t.csv", [change(row) for row in PLAIN])


def test_remarks_say_nothing_of_a_plain_table(tmp_path):
    """Nor of a loss held out that is read by its name, with a training loss beside it."""
    assert flags(table(tmp_path, dict)) == []
    path = table(tmp_path, lambda row: {**row, "val_loss": row["loss"], "status": "done"})
    assert flags(path, "columns.loss=val_loss") == []


@pytest.mark.parametrize(
    ("change", "overrides", "says"),
    [
        (
            lambda row: {**row, "params": row["params"] / 1e6, "tokens": row["tokens"] / 1e9},
            (),
            ["params are ", "units.params=1e6 or 1e9", "tokens are ", "units.tokens=1e9"],
        ),
        (
            lambda row: {**row, "nParams_M": row["params"] / 1e6},
            ("columns.params=nParams_M",),
            ["params were read from 'nParams_M', whose name says a unit: units.params=1e6"],
        ),
        (
            lambda row: {**row, "tokens (billions)": row["tokens"] / 1e9},
            ("columns.tokens=tokens (billions)",),
            ["whose name says a unit: units.tokens=1e9"],
        ),
        (
            lambda row: {**row, "flops": 6 * row["params"] * row["tokens"] / 1e18},
            (),
            ["flops are ", "units.flops=1e18"],
        ),
        (
            lambda row: {**row, "size": math.log10(row["params"])},
            ("columns.params=size",),
            ["are they log10? derive.params=\"10**'size'\""],
        ),
        (
            lambda row: {**row, "log10_params": math.log10(row["params"])},
            ("columns.params=log10_params",),
            ["logarithms by its name: derive.params=\"10**'log10_params'\""],
        ),
    ],
)
def test_remarks_tell_of_units_by_name_and_by_size(tmp_path, change, overrides, says):
    """Millions, billions, exaFLOP and logarithms; with the unit given they are silent."""
    found = flags(table(tmp_path, change), *overrides)
    assert {code for code, _ in found} == {"units"}
    assert all(any(part in text for _, text in found) for part in says)


def test_remarks_are_silent_where_the_unit_is_given(tmp_path):
    change = lambda row: {**row, "params_M": row["params"] / 1e6, "size_b": row["tokens"]}  # noqa: E731
    path = table(tmp_path, change)
    assert flags(path, "columns.params=params_M", "units.params=1e6") == []
    assert flags(path, "columns.tokens=size_b") == []  # a name whose b is no unit: 1e9 tokens


@pytest.mark.parametrize(
    ("names", "overrides", "read"),
    [
        (("loss", "eval_loss"), (), "eval_loss"),
        (
            ("train_loss", "final_validation_loss"),
            ("columns.loss=train_loss",),
            "final_validation_loss",
        ),
    ],
)
def test_remarks_say_which_loss_was_read_beside_one_held_out(tmp_path, names, overrides, read):
    path = table(
        tmp_path,
        lambda row: {"params": row["params"], "tokens": row["tokens"]} | dict.fromkeys(names, 3.0),
    )
    found = dict(flags(path, *overrides))
    assert f"loss was read from {names[0]!r}" in found["loss_column"]
    assert f"columns.loss={read}" in found["loss_column"]


@pytest.mark.parametrize(
    ("name", "of_nats", "unit"),
    [("val_ppl", math.exp, "ppl"), ("loss_bits", lambda loss: loss / math.log(2), "bits")],
)
def test_losses_in_another_unit_are_told_and_converted(tmp_path, name, of_nats, unit):
    """Read as what it is, the loss is in nats; read as nats its name tells what it is."""
    path = table(tmp_path, lambda row: {**row, name: of_nats(row["loss"])})
    assert f"loss_unit={unit}" in dict(flags(path, f"columns.loss={name}"))["loss_unit"]
    asked = (f"columns.loss={name}", f"loss_unit={unit}")
    assert "fitted in nats" in dict(flags(path, *asked))["loss_unit"]
    expected = sorted(row["loss"] for row in PLAIN)
    assert sorted(admitted(path, *asked).loss) == pytest.approx(expected)


def test_remarks_tell_a_loss_that_rises(tmp_path):
    """By its name, or by its values; a surface that falls and a single ray are left alone."""
    law = PUBLISHED["besiroglu"]
    size, data = (
        grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 4), [1e9, 1e10, 1e11])
    )
    loss = law.predict_loss(size, data)
    assert rising(size, data, 1 / loss) and not rising(size, data, loss)
    assert not rising(size, 20 * size, 1 / loss)
    rows = [dict(params=n, tokens=d, top=1 / y) for n, d, y in zip(size, data, loss, strict=True)]
    path = write_csv(tmp_path / "t.csv", rows)
    assert "rises with size and with data" in dict(flags(path, "columns.loss=top"))["no_loss"]
    named = table(tmp_path, lambda row: {**row, "accuracy": 0.5})
    assert "its name says is no loss" in dict(flags(named, "columns.loss=accuracy"))["no_loss"]


@pytest.mark.parametrize("factor", [1.3, 0.5])
def test_flops_of_some_runs_by_another_count_are_not_mixed(tmp_path, factor):
    """C is 6 N D for all, and said; where the given are 6 N D themselves nothing is to say."""

    def some(row, factor):
        flops = 6 * row["params"] * row["tokens"] * factor
        return {**row, "flops": flops if row["run_id"] in ("r1", "r4") else None}

    path = table(tmp_path, lambda row: some(row, factor))
    text = dict(flags(path))["mixed_flops"]
    assert f"4 of 6 runs have no flops, and the others {factor:g} to {factor:g} times 6 N D" in text
    found = admitted(path)
    assert found.flops == pytest.approx(6 * found.params * found.tokens)
    assert flags(path, "convention.flops=6nd") == []
    assert flags(table(tmp_path, lambda row: some(row, 1.001))) == []


def test_flops_of_some_runs_beside_named_budgets_say_whose_c_is_which(tmp_path):
    """A run that names its budget has it; only the others are counted by 6 N D."""
    given = {"r0": {"flops_budget": 1e18}, "r1": {"flops": 1e20}, "r4": {"flops": 1e20}}
    path = table(
        tmp_path,
        lambda row: {"flops_budget": None, "flops": None, **row, **given.get(row["run_id"], {})},
    )
    text = dict(flags(path))["mixed_flops"]
    assert "3 of 6 runs have neither flops nor a budget" in text
    assert "C is the budget of the 1 that name one and 6 N D for the others" in text
    found = admitted(path)
    assert found.flops[list(found.run_id).index("r0")] == 1e18


def test_remarks_name_a_status_that_is_no_word_known(tmp_path):
    rows = [{**row, "status": "done" if row["run_id"] != "r0" else "archived"} for row in PLAIN]
    text = dict(flags(write_csv(tmp_path / "t.csv", rows)))["unknown_status"]
    assert "status archived: no word known" in text and "finished" in text


def test_remarks_tell_losses_above_those_of_a_guess(tmp_path):
    """Perplexities in a column called loss."""
    (found,) = flags(table(tmp_path, lambda row: {**row, "loss": math.exp(row["loss"])}))
    assert found[0] == "loss_unit" and "loss_unit=ppl" in found[1]


@pytest.mark.parametrize("unit", ["label", "EFLOP"])
def test_remarks_tell_budgets_that_are_no_flop(tmp_path, unit):
    """Budgets that are labels or in another unit group their runs, and C is the runs' own."""
    rows = [
        {**row, "flops_budget": budget if unit == "label" else row["flops_budget"] / 1e18}
        for budget, flops in enumerate([1e18, 1e19, 1e20], 1)
        for row in isoflop_rows(PUBLISHED["besiroglu"], [flops], np.geomspace(1 / 4, 4, 7))
    ]
    for row in rows:
        row.pop("flops", None)
    path = write_csv(tmp_path / "t.csv", rows)
    assert "units" in dict(flags(path))
    assert sorted(set(admitted(path).flops_budget)) == pytest.approx([1e18, 1e19, 1e20], rel=1e-6)
