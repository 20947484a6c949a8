"""Bytes to columns: what reads as a table, and what is refused in which words."""

import datetime
import decimal
import gzip
import json
import math
import os
import random

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from common.errors import BadInput
from scaling.fit.observations import observe
from scaling.fit.table.inputs import read_inputs
from scaling.fit.table.readers import read_table
from tests.support.fit_examples import config, write_csv
from tests.support.fit_tables import NEEDED, ROWS, admitted, refusal, refused, row

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

TEXT = "run_id,params,tokens,loss\na,1e6,1e8,3\nb,2e6,1e8,2.9\n"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_read_table_reads_every_kind_alike(tmp_path, suffix):
    """Every kind of table reads alike."""
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


def test_read_table_refuses_nan_in_json_lines(tmp_path):
    """Nan in json lines is refused."""
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
def test_read_table_refuses_what_is_no_table(tmp_path, name, content, says):
    """What is no table is refused."""
    path = tmp_path / name
    path.write_bytes(content)
    assert says in refusal(path)


def test_read_table_refuses_what_is_not_there(tmp_path):
    """What is not there is refused."""
    assert "not found" in refusal(tmp_path / "nothing.csv")
    assert "no plan.json" in refusal(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    assert "one run of train.py, and a fit needs several" in refusal(tmp_path)


def test_read_table_reads_a_byte_order_mark(tmp_path):
    """A table with a byte order mark reads."""
    path = tmp_path / "runs.csv"
    path.write_bytes(b"\xef\xbb\xbfparams,tokens,loss\n1e6,1e8,3\n")
    assert admitted(path).params.tolist() == [1e6]


def test_read_table_reads_rows_longer_than_a_block(tmp_path):
    """A row of three megabytes, of a table with a column for each of very many settings, reads."""
    wide = {f"setting_{index}": "x" * 300 for index in range(10_000)}
    path = write_csv(tmp_path / "a.csv", [row(run_id="a", **wide), row(run_id="b", **wide)])
    assert read_table(path).texts("run_id") == ["a", "b"]


def test_read_table_keeps_hostile_text_as_text(tmp_path):
    """Hostile text stays text."""
    path = write_csv(tmp_path / "a.csv", [row(run_id="=cmd|'/c calc'!A1\x1b[31m</script>")])
    assert admitted(path).run_id == ("=cmd|'/c calc'!A1\x1b[31m</script>",)
    assert len(read_table(path)) == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_read_table_reads_or_refuses_a_damaged_table(tmp_path, suffix):
    """A damaged table is read or refused and nothing else."""
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
            observe(read_inputs(asked).runs, asked)
        except BadInput as error:
            refused += 1
            assert "expected" in str(error) or str(path) in str(error)
    assert refused > 30


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", TEXT.encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
        ("a.csv", TEXT.encode("utf-16-le"), "binary (a zero byte)"),
        ("a.csv.gz", gzip.compress(TEXT.encode(), mtime=0)[:-9], "gzip that cannot be unpacked"),
        ("a.csv", b"params,tokens,loss\n1,2,3,4\n", "4 fields, expected 3"),
        ("a.csv", b'params,tokens,loss\n"1,000",1e8,3\n', "; write no thousands separators"),
        ("a.csv", b'params,tokens,loss\n"1,000,000.5",1e8,3\n', "no thousands separators"),
        ("a.jsonl", b'{"params": 1e6, "tokens": 1e8, "loss": true}', "found True, expected a num"),
        ("a.jsonl", b'{"params": 1%s, "tokens": 1, "loss": 3}' % (b"0" * 400), "found inf, expec"),
        ("a.jsonl", b'{"params": 1%s, "tokens": 1, "loss": 3}' % (b"0" * 9000), "not JSON"),
        ("a.jsonl", b'{"a":' * 100_000, ":1: not JSON"),
        ("a.jsonl", b"{}\n{}", "no field with a number or a text in it; expected one object a run"),
        ("a.json", b'{"runs": [{"params": 1}]}', "no column"),
        ("a.json", b'{"params": [1, 2], "loss": [3]}', "columns of different lengths (2 params"),
        ("a.jsonl", b'{"config": {"n_params": 1}, "loss": 3, "tokens": 2}', "=config.n_params"),
    ],
)
def test_read_table_says_what_a_file_is_that_it_cannot_read(capsys, tmp_path, name, content, says):
    """A file that cannot be read says what it is."""
    path = tmp_path / name
    path.write_bytes(content)
    assert says in refused(capsys, tmp_path, f"runs={path}")


def test_read_table_refuses_what_is_no_file(capsys, tmp_path):
    """What is no file is refused."""
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    assert "not found" in refused(capsys, tmp_path, f"runs={tmp_path / 'loop.csv'}")
    os.mkfifo(tmp_path / "fifo.csv")
    assert "not a regular file" in refused(capsys, tmp_path, f"runs={tmp_path / 'fifo.csv'}")
    write_csv(tmp_path / "a.csv", ROWS)
    hint = f"its tables are read by name, as runs={tmp_path / 'a.csv'}"
    assert hint in refused(capsys, tmp_path, f"runs={tmp_path}")
    assert "expected a readable file" in refused(capsys, tmp_path, "runs=/proc/self/mem")


def test_read_table_makes_columns_with_dots_of_objects_in_json_lines(tmp_path):
    """Objects in json lines are columns with dots."""
    path = tmp_path / "t.jsonl"
    lines = [
        {"config": {"params": r["params"], "deep": {"x": i}}, "summary": {"loss": r["loss"]}}
        | {"tokens": r["tokens"], "hist": [1, 2], "id": None, "tag": {} if i else "late"}
        for i, r in enumerate(ROWS)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    mapped = ("columns.params=config.params", "columns.loss=summary.loss")
    runs = admitted(path, *mapped)
    assert sorted(runs.loss) == sorted(row["loss"] for row in ROWS)
    assert "hist" not in runs.columns and sorted(runs.columns["config.deep.x"]) == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]
    assert len(admitted(path, *mapped, "where.tag=late")) == 1


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("decimal", lambda values: [decimal.Decimal(repr(value)) for value in values]),
        ("text", lambda values: [repr(value) for value in values]),
        ("float32", lambda values: pyarrow.array(np.array(values, np.float32))),
    ],
)
def test_read_table_reads_parquet_numbers_of_any_type(tmp_path, name, cells):
    """Parquet numbers of any type read."""
    columns = {n: cells([round(row[n], 4) for row in ROWS]) for n in NEEDED}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    expected = sorted(row["loss"] for row in ROWS)
    assert sorted(admitted(tmp_path / "t.parquet").loss) == pytest.approx(expected, abs=1e-4)


def test_read_table_reads_parquet_of_lists_dictionaries_and_dates(tmp_path):
    """Parquet of lists dictionaries and dates reads."""
    columns = {n: [row[n] for row in ROWS] for n in NEEDED}
    columns["kind"] = pyarrow.array(["a", "b", "c"] * 2).dictionary_encode()
    columns["day"] = [datetime.date(2026, 1, 1 + index % 2) for index in range(6)]
    columns["hist"] = [[1, 2]] * 6
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    assert len(admitted(path, "where.kind=a")) == 2
    assert len(admitted(path, "where.day=2026-01-01")) == 3
    with pytest.raises(BadInput, match="no column 'hist'"):
        admitted(path, "where.hist=1")


def test_read_table_refuses_parquet_with_a_name_twice(tmp_path):
    """Parquet with a name twice is refused."""
    arrays = [pyarrow.array([1.0])] * 4
    parquet.write_table(pyarrow.table(arrays, names=[*NEEDED, "loss"]), tmp_path / "t.parquet")
    with pytest.raises(BadInput, match="column 'loss' twice"):
        admitted(tmp_path / "t.parquet")


def test_places_are_the_lines_of_the_file_whatever_stands_between_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('run_id,params,tokens,loss\n\n"a\nb",1e6,1e8,3\n , ,,\n\nc,2e6,1e8,no\n')
    assert refusal(path).startswith(f"{path}:7 (run c): loss: found 'no'")
    path.write_text("params,tokens,loss\n\n1e6,1e8,3\n,,\n ,\n2e6,1e8,no\n")
    assert refusal(path).startswith(f"{path}:6: loss: found 'no'")


def test_a_column_of_json_that_changes_its_type_reads_as_written(tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.fit.table.json_reader.BLOCK", 2)
    levels = [1, 1.5, 2, "x", None, True, 10**30]
    lines = [json.dumps(row(run_id=f"r{i}", level=level)) for i, level in enumerate(levels)]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(lines))
    assert read_table(path).texts("level") == ["1", "1.5", "2", "x", None, "True", f"{10**30}"]
    assert admitted(path, "where.level=[1,x]").run_id == ("r0", "r3")
