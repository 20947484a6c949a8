"""Derived columns are the arithmetic that was written, over columns by name, and nothing else."""

import pytest

from common.errors import BadInput
from model import flops
from model.config import GPTConfig
from scaling.fit.table.derive import with_derived
from tests.support.fit_examples import write_csv
from tests.support.fit_tables import admitted, refusal, row, table_of

ROWS = [{"steps": 10, "batch size": 4, "config.len": 8, "x/y": 2.0, "text": "a"}, {"steps": 20}]


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("steps*2", 20.0),
        ("-steps + 3*(steps - 1)**2/9", 17.0),
        ("steps * 'batch size' * config.len", 320.0),
        ("'x/y'", 2.0),
        ("x/y", 2.0),
        ("10**'x/y'", 100.0),
        ('"x/y"*1e3', 2000.0),
        ("7", 7.0),
    ],
)
def test_with_derived_computes_what_is_written(formula, value):
    """Names with spaces or signs stand in quotes, those with dots as they are."""
    table, flags = with_derived(table_of(ROWS), {"out": formula}, {}, {})
    assert table.values("out")[0] == value
    assert flags[0].code == "derived_column" and formula in flags[0].text


def test_with_derived_reads_our_names_in_single_units_and_others_as_they_stand():
    """A derived column may rest on another; one that lacks a part has nothing there."""
    table = table_of(
        [{"n": 2, "params": 3.0, "flops": 1e3}, {"n": 4, "params": 3.0, "flops": None}]
    )
    formulas = {"twice": "2*tokens", "tokens": "flops/(6*params)", "params": "n*params"}
    found, flags = with_derived(table, formulas, {}, {"flops": 1e18})
    assert found.values("params") == [6.0, 12.0]
    assert found.values("tokens") == [1e21 / 36, None] and found.values("twice")[1] is None
    assert any("1 row lacks a part of it" in flag.text for flag in flags)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("__import__('os').system('x')", "found Call in"),
        ("steps if steps else 1", "found IfExp in"),
        ("steps.real.__class__", "has no column 'steps.real.__class__'"),
        ("steps^2", "write ** for a power"),
        ("True*steps", "found True in"),
        ("[steps]", "found List in"),
        ("steps // 2", "found FloorDiv in"),
        ("batch size*2", "a name with spaces or signs goes in quotes"),
        ("((" * 5000, "expected numbers, names of columns"),
        ("tokens*2", "has no column 'tokens'; it has steps"),
        ("text*2", "column 'text' has no number; found 'a'"),
        ("1e999*steps", "found inf in"),
        ("", "expected numbers, names of columns"),
    ],
)
def test_with_derived_refuses_all_but_arithmetic(formula, says):
    with pytest.raises(BadInput) as error:
        with_derived(table_of(ROWS), {"out": formula}, {}, {})
    assert says in str(error.value) and str(error.value).startswith("derive.out: ")


def test_with_derived_refuses_columns_that_need_each_other():
    with pytest.raises(BadInput, match="derive: a, b each need another"):
        with_derived(table_of(ROWS), {"a": "b+1", "b": "a+1"}, {}, {})


TABLES = {
    "flops": ({"params": 1e6, "flops": 6e14}, "tokens"),
    "flops of N": ({"tokens": 1e8, "flops": 6e14}, "params"),
    "steps": ({"params": 1e6, "steps": 1000, "batch_size": 100, "seq_len": 1000}, "tokens"),
    "batches": ({"params": 1e6, "n_steps": 1000, "tokens per batch": 1e5}, "tokens"),
    "ratio": ({"params": 1e6, "tokens_per_param": 100}, "tokens"),
    "parts": ({"params_body": 9e5, "params_lm_head": 1e5, "tokens": 1e8}, "params"),
    "millions": ({"params_M": 1, "flops": 6e14}, "tokens"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_what_a_refusal_offers_gives_the_missing_column(tmp_path, kind):
    """Typed as it is offered, the arithmetic gives N = 1e6 and D = 1e8."""
    import shlex

    columns, name = TABLES[kind]
    path = write_csv(tmp_path / "t.csv", [{**columns, "loss": 3.0}])
    said = refusal(path)
    assert f"'{name}'" in said
    found = admitted(path, *shlex.split(said.partition(", as ")[2]))
    assert found.params[0] == pytest.approx(1e6) and found.tokens[0] == pytest.approx(1e8)


def test_a_shape_offers_the_parameters_that_multiply(tmp_path):
    """As model/flops.py counts them: with the head where the vocabulary is known."""
    shape = GPTConfig(n_layer=4, n_head=4, n_embd=128, block_size=64, vocab_size=500, init_std=0.02)
    rows = [{"n_layers": 4, "d_model": 128, "vocab_size": 500, "tokens": 1e8, "loss": 3.0}]
    for count in (flops.params_matmul, flops.params_non_embedding):
        path = write_csv(tmp_path / "t.csv", rows)
        offered = refusal(path).partition(", as ")[2].replace('"', "")
        assert admitted(path, offered).params.tolist() == [count(shape)]
        rows = [{name: v for name, v in rows[0].items() if name != "vocab_size"}]


def test_derived_and_mapped_columns_are_refused_together(tmp_path):
    path = write_csv(tmp_path / "t.csv", [row(n=1)])
    said = refusal(path, "derive.params=n*2", "columns.params=n")
    assert said == "derive.params: columns.params gives it too, expected one of them"
