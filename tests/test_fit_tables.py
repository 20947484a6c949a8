"""Bytes to columns: what reads as a table, and what is refused in which words."""

import json
import math
import random

import pytest
from fit_examples import config, write_csv
from fit_tables import admitted, refusal, row

from configs.errors import BadInput
from scaling.fit.inputs import read_inputs
from scaling.fit.observations import observe
from scaling.fit.tables import read_table


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_kind_of_table_reads_alike(tmp_path, suffix):
    rows = [row(run_id="a"), row(run_id="b", params=2e6, loss=2.9, lr=1e-3)]
    path = tmp_path / f"runs.{suffix}"
    if suffix in ("csv", "tsv"):
        write_csv(path, rows)
        if suffix == "tsv":
            path.write_text(path.read_text().replace(",", "\t"))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    elif suffix == "json":
        path.write_text(json.dumps(rows))
    else:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    runs = admitted(path)
    assert runs.run_id == ("a", "b")
    assert runs.params.tolist() == [1e6, 2e6]
    assert runs.flops.tolist() == [6e14, 12e14]
    assert math.isnan(runs.columns["lr"][0] if "lr" in runs.columns else math.nan)
    assert runs.planned == 2


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("loss", "nan", "found 'nan', expected a number"),
        ("loss", "inf", "found 'inf', expected a number"),
        ("loss", "0", "found 0, expected above 0 and at most 50 nats"),
        ("loss", "-2.5", "found -2.5, expected above 0"),
        ("loss", "1e6", "found 1e+06, expected above 0 and at most 50 nats"),
        ("loss", "n/a", "found 'n/a', expected a number"),
        ("loss", "", "found nothing, expected a number"),
        ("loss", "3_0", "found '3_0', expected a number"),
        ("params", "0", "found 0, expected above 0"),
        ("params", "1e999", "found inf, expected a finite number"),
        ("tokens", "-1e9", "found -1e+09, expected above 0"),
        ("tokens", "many", "found 'many', expected a number"),
    ],
)
def test_a_bad_number_is_refused_with_its_run_and_field(tmp_path, name, value, found):
    path = tmp_path / "runs.csv"
    write_csv(path, [row(run_id="good"), row(**{"run_id": "bad", "params": 2e6, name: value})])
    text = refusal(path)
    assert text.startswith(f"{path}:3 (run bad): {name}: ")
    assert found in text


@pytest.mark.parametrize("loss", ["", "nan", "inf"])
def test_a_run_without_a_loss_is_refused_with_the_remedy(tmp_path, loss):
    path = tmp_path / "runs.csv"
    write_csv(path, [row(run_id="good"), row(run_id="dead", params=2e6, loss=loss)])
    assert refusal(path).endswith("expected a number; exclude=[dead] leaves the run out")
    assert admitted(path, "exclude=[dead]").run_id == ("good",)


def test_a_decimal_comma_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("params;tokens;loss\n1e6;1e8;3,25\n")
    assert refusal(path).endswith("found '3,25', expected a number; write a decimal point")


def test_nan_in_json_lines_is_refused(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"run_id": "x", "params": 1e6, "tokens": 1e8, "loss": NaN}\n')
    assert "(run x): loss: found 'NaN'" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"   \n\n", "empty"),
        ("a.csv", b"params,tokens,loss\n", "no rows"),
        ("a.csv", b"<!DOCTYPE html><html></html>", "looks like HTML"),
        ("a.csv", b"\x1f\x8b\x08\x00", "looks like gzip"),
        ("a.csv", b"PK\x03\x04rest", "a zip or spreadsheet"),
        ("a.csv", b"PAR1rest", "name it with the ending .parquet"),
        ("a.csv", b"params,tokens,loss\n1,2,\x00", "binary"),
        ("a.csv", "params,tokens,loss\n1,2,é\n".encode("latin-1"), "not UTF-8 at byte"),
        ("a.csv", b"params,tokens,loss,loss\n1,2,3,4\n", "column 'loss' twice"),
        ("a.csv", b"params,tokens,,loss\n1,2,3,4\n", "a column without a name"),
        ("a.csv", b"params,tokens,loss\n1,2\n", "2 fields, expected 3"),
        ("a.csv", b'params,tokens,loss\n1,2,"3\n', "not CSV"),
        ("a.jsonl", b"{not json}\n", ":1: not JSON"),
        ("a.jsonl", b"[1, 2]\n", "expected an object"),
        ("a.jsonl", b"3\n", "expected an object"),
        ("a.parquet", b"", "empty"),
        ("a.parquet", b"not parquet at all", "not Parquet"),
        ("a.xlsx", b"whatever", "ending '.xlsx', expected"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    assert says in refusal(path)


def test_what_is_not_there_is_refused(tmp_path):
    assert "not found" in refusal(tmp_path / "nothing.csv")
    assert "no plan.json" in refusal(tmp_path)


def test_a_table_with_a_byte_order_mark_reads(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_bytes(b"\xef\xbb\xbfparams,tokens,loss\n1e6,1e8,3\n")
    assert admitted(path).params.tolist() == [1e6]


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("n,tokens,loss", "map it, as columns.params=n"),
        ("num_params,tokens,loss", "map it, as columns.params=num_params"),
        ("params,n_tokens,loss", "map it, as columns.tokens=n_tokens"),
        ("params,tokens,val_loss", "map it, as columns.loss=val_loss"),
        ("params,tokens,Loss", "map it, as columns.loss=Loss"),
        ("parms,tokens,loss", "map it, as columns.params=parms"),
    ],
)
def test_a_missing_column_is_named_with_the_nearest(tmp_path, header, hint):
    path = tmp_path / "runs.csv"
    path.write_text(f"{header}\n1e6,1e8,3\n")
    assert hint in refusal(path)


def test_columns_map_other_names(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("n,d,l\n1e6,1e8,3\n")
    runs = admitted(path, "columns.params=n", "columns.tokens=d", "columns.loss=l")
    assert (runs.params[0], runs.tokens[0], runs.loss[0]) == (1e6, 1e8, 3.0)
    assert "has no column 'm'" in refusal(path, "columns.params=m")
    assert "did you mean columns.params?" in refusal(path, "columns.parms=n")


def test_hostile_text_stays_text(tmp_path):
    path = write_csv(tmp_path / "a.csv", [row(run_id="=cmd|'/c calc'!A1\x1b[31m</script>")])
    assert admitted(path).run_id == ("=cmd|'/c calc'!A1\x1b[31m</script>",)
    assert read_table(path).size == 1


MUTANTS = [
    b"",
    b",",
    b"\n",
    b'"',
    b"\x00",
    b"\xff",
    b"nan",
    b"-",
    b"1e400",
    b"=",
    b"[",
    b"{",
    b"\r",
]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_a_damaged_table_is_read_or_refused_and_nothing_else(tmp_path, suffix):
    rng = random.Random(0)
    rows = [row(run_id=f"r{i}", params=1e6 + i, status="done", step=i, seed=0) for i in range(6)]
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        write_csv(path, rows)
    elif suffix == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        text = "\n".join(map(json.dumps, rows)) if suffix == "jsonl" else json.dumps(rows)
        path.write_text(text)
    whole, asked, refused = path.read_bytes(), config(f"runs={path}"), 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 4)] = rng.choice(MUTANTS)
        path.write_bytes(data)
        try:
            observe(read_inputs(asked).rows, asked)
        except BadInput as error:
            refused += 1
            assert "expected" in str(error) or str(path) in str(error)
    assert refused > 30
