"""A decimal comma and a point between thousands are read where asked for, and told where not."""

import pytest

from scaling.fit.table.inputs import read_inputs
from scaling.fit.table.written_numbers import spelling_hint
from tests.support.fit_examples import config
from tests.support.fit_tables import ROWS, admitted, refusal

COLUMNS = ("run_id", "params", "tokens", "loss")


def german(number):
    """A number as a spreadsheet writes it in much of Europe."""
    return f"{number:,}".replace(",", " ").replace(".", ",").replace(" ", ".")


def semicolons(path, rows):
    lines = [";".join(COLUMNS), *(";".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def path(tmp_path):
    rows = [
        (f"1,{k}", german(round(row["params"])), german(round(row["tokens"])), german(row["loss"]))
        for k, row in enumerate(ROWS)
    ]
    return semicolons(tmp_path / "t.csv", rows)


def test_decimal_comma_reads_losses_and_thousands(path):
    """As the same table with points; a name as 1,0 is a number too, and keeps its rows apart."""
    found = admitted(path, "decimal=comma")
    assert sorted(found.params) == sorted(round(row["params"]) for row in ROWS)
    assert sorted(found.tokens) == sorted(round(row["tokens"]) for row in ROWS)
    assert sorted(found.loss) == pytest.approx(sorted(row["loss"] for row in ROWS), rel=1e-12)


def test_a_decimal_comma_is_refused_with_the_option_that_reads_it(path):
    assert refusal(path).endswith("expected a number; decimal=comma reads it")


def test_decimal_comma_leaves_names_empty_cells_and_exponents(tmp_path):
    rows = [("a,b", "1,5e6", "1.000.000", "3,25"), ("c", "2e6", "1,5M", "-")]
    asked = config(f"runs={semicolons(tmp_path / 't.csv', rows)}", "decimal=comma")
    runs = read_inputs(asked).runs
    assert runs.values("run_id") == ["a,b", "c"] and runs.values("loss") == ["3.25", None]
    assert runs.numbers("params").tolist() == [1.5e6, 2e6]
    assert runs.numbers("tokens").tolist() == [1e6, 1.5e6]


def test_decimal_comma_leaves_what_has_a_point_after_nothing(tmp_path):
    """0.001 has no thousands: a column of such rates is one of decimal points."""
    path = tmp_path / "t.csv"
    path.write_text("params;tokens;loss;lr\n1.000.000;1e8;3,25;0.001\n2.000.000;1e8;3,5;0.002\n")
    runs = read_inputs(config(f"runs={path}", "decimal=comma")).runs
    assert runs.numbers("lr").tolist() == [0.001, 0.002]
    assert runs.numbers("params").tolist() == [1e6, 2e6]


@pytest.mark.parametrize(
    ("cells", "overrides", "read"),
    [
        (("1.000e+08", "2.000e+08"), (), [1e8, 2e8]),
        (("2.000B", "3.000B"), (), [2e9, 3e9]),
        (("101.500", "203.250"), ("units.params=1e6",), [101.5e6, 203.25e6]),
        (("101.500", "203.250"), (), [101500.0, 203250.0]),
        (("101.500", "1.203.250"), ("units.params=1",), [101500.0, 1203250.0]),
    ],
)
def test_decimal_comma_takes_points_for_thousands_in_counts_alone(tmp_path, cells, overrides, read):
    """With an exponent, a letter or a unit of its own a point is a decimal one."""
    lines = [f"{cell};1e9;3,25;2.100" for cell in cells]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["params;tokens;loss;version", *lines]))
    runs = read_inputs(config(f"runs={path}", "decimal=comma", *overrides)).runs
    assert runs.numbers("params").tolist() == pytest.approx(read)
    assert runs.values("version") == ["2.100", "2.100"]


def test_decimal_comma_refuses_a_column_with_both(tmp_path):
    rows = [("a", "1000000", "1e8", "3,25"), ("b", "2000000", "1e8", "3.5")]
    said = refusal(semicolons(tmp_path / "t.csv", rows), "decimal=comma")
    assert "loss: found '3.5' and '3,25', expected a decimal comma in both" in said


@pytest.mark.parametrize(
    ("name", "of_row", "told"),
    [
        ("params", lambda k: f"{20 + k}.145", True),
        ("params", lambda k: f"{20 + k}.145" if k % 2 else "20145", True),
        ("tokens", lambda k: f"{200 + k}.000", True),
        ("batch_tokens", lambda k: f"{1 + k}.024", True),
        ("params", lambda k: f"{20 + k}.14", False),
        ("batch_tokens", lambda k: f"{1 + k}.0240" if k % 2 else "1.024", False),
        ("batch_tokens", lambda k: 1024 + k, False),
        ("lr", lambda k: f"{1 + k}.024", False),
    ],
)
def test_points_as_between_thousands_are_told(tmp_path, name, of_row, told):
    """Of counts, where every point of the column stands so; with its unit given nothing is told."""
    columns = [*COLUMNS, *([name] if name not in COLUMNS else [])]
    lines = [";".join(columns)]
    for k, row in enumerate(ROWS):
        cells = {**{column: row[column] for column in COLUMNS}, name: of_row(k)}
        lines.append(";".join(str(cells[column]) for column in columns))
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    flags = read_inputs(config(f"runs={path}")).flags
    texts = [flag.text for flag in flags if flag.code == "units"]
    assert any("decimal=comma reads a point between thousands" in text for text in texts) == told
    if told:
        flags = read_inputs(config(f"runs={path}", f"units.{name}=1e3")).flags
        assert not any("decimal=comma" in flag.text for flag in flags)


@pytest.mark.parametrize(
    ("text", "name", "hint"),
    [
        ("1,384", "params", "; write no thousands separators"),
        ("1,384", "loss", "; decimal=comma reads it"),
        ("1,384,123", "params", "; write no thousands separators"),
        ("1 384 123", "params", "; write no thousands separators"),
        ("1'384'123", "tokens", "; write no thousands separators"),
        ("1.384.123", "params", "; decimal=comma reads it"),
        ("1.384,5", "params", "; decimal=comma reads it"),
        ("3,25", "loss", "; decimal=comma reads it"),
        ("many", "loss", ""),
        ("3_0", "loss", ""),
    ],
)
def test_spelling_hint_says_how_a_number_is_to_be_written(text, name, hint):
    assert spelling_hint(text, name) == hint
