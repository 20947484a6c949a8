"""Inputs as users have them and as nobody should: read, or refused in one line with status 2."""

import datetime
import decimal
import gzip
import json
import os

import numpy as np
import pyarrow
import pytest
from fit_examples import config, isoflop_rows, write_csv
from fit_tables import admitted
from pyarrow import parquet

import fit as entry
from configs.errors import BadInput, ExitStatus
from configs.load import run_entry
from scaling.fit.apart import parts
from scaling.fit.inputs import read_inputs, read_sources
from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import observe

ROWS = [
    {"run_id": f"r{index}", "kind": "ab"[index % 2], **row}
    for index, row in enumerate(
        isoflop_rows(PUBLISHED["besiroglu"], (1e17, 1e18), (0.5, 1.0, 2.0), 0.003)
    )
]
NEEDED = ("params", "tokens", "loss")


def refused(capsys, tmp_path, *overrides):
    """The one line of a refusal that leaves nothing behind."""
    out = tmp_path / "out"
    given = [*overrides] if "out=" in " ".join(overrides) else [*overrides, f"out={out}"]
    assert run_entry(entry.main, "fit", "", [*given, "n_bootstrap=0"]) == ExitStatus.BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error[:-1].isprintable() and not out.is_dir()
    return error


def table(tmp_path, **changes):
    return write_csv(tmp_path / "t.csv", [{**row, **changes} for row in ROWS])


TEXT = "run_id,params,tokens,loss\na,1e6,1e8,3\nb,2e6,1e8,2.9\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", TEXT.encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
        ("a.csv", TEXT.encode("utf-16-le"), "binary (a zero byte)"),
        ("a.csv.gz", gzip.compress(TEXT.encode(), mtime=0), "looks like gzip; unpack it first"),
        ("a.csv", b"params,tokens,loss\n1,2,3,4\n", "4 fields, expected 3"),
        ("a.csv", b'params,tokens,loss\n"1,000",1e8,3\n', "write neither thousands separators"),
        ("a.csv", b'params,tokens,loss\n"1,000,000.5",1e8,3\n', "thousands separators"),
        ("a.jsonl", b'{"params": 1e6, "tokens": 1e8, "loss": true}', "found True, expected a num"),
        ("a.jsonl", b'{"params": 1%s, "tokens": 1, "loss": 3}' % (b"0" * 400), "found inf, expec"),
        ("a.jsonl", b'{"params": 1%s, "tokens": 1, "loss": 3}' % (b"0" * 9000), "not JSON"),
        ("a.jsonl", b'{"a":' * 100_000, ":1: not JSON"),
        ("a.jsonl", b"{}\n{}", "no column 'params'; it has none"),
        ("a.json", b'{"runs": [{"params": 1}]}', "no column 'params'"),
        ("a.jsonl", b'{"config": {"n_params": 1}, "loss": 3, "tokens": 2}', "=config.n_params"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_it_is(capsys, tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    assert says in refused(capsys, tmp_path, f"runs={path}")


def test_what_is_no_file_is_refused(capsys, tmp_path):
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    assert "not found" in refused(capsys, tmp_path, f"runs={tmp_path / 'loop.csv'}")
    os.mkfifo(tmp_path / "fifo.csv")
    assert "not a regular file" in refused(capsys, tmp_path, f"runs={tmp_path / 'fifo.csv'}")
    write_csv(tmp_path / "a.csv", ROWS)
    hint = f"its tables are read by name, as runs={tmp_path / 'a.csv'}"
    assert hint in refused(capsys, tmp_path, f"runs={tmp_path}")
    assert "expected a readable file" in refused(capsys, tmp_path, "runs=/proc/self/mem")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("flops", 1e300, "found 1e+300, expected 1e-12 to 1e+40"),
        ("flops_budget", 1e-300, "found 1e-300, expected 1e-12 to 1e+40"),
        ("params", 1e-300, "found 1e-300, expected 1e-12 to 1e+20"),
        ("tokens", 1e29, "found 1e+29, expected 1e-12 to 1e+24"),
        ("loss", 1e-300, "found 1e-300, expected at least 1e-06 nats"),
        ("loss_se", 1e300, "found 1e+300, expected at least 0 and at most 50 nats"),
        ("status", "\x1b[31m", "status \\x1b[31m"),
    ],
)
def test_absurd_values_are_refused(capsys, tmp_path, name, value, says):
    assert says in refused(capsys, tmp_path, f"runs={table(tmp_path, **{name: value})}")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("out=a\0b", "out: found 'a\\x00b'"),
        ("columns.params=kind", "params: found 'a', expected a number"),
        ("columns.params=tokens", "params and tokens would both be 'tokens'"),
        ("where.nope=1", "where.nope: no column 'nope'"),
        ("where.kind=zz", "where.kind: no row with 'zz'; there are a, b"),
        ("exclude=[unknown]", "exclude: no run 'unknown'"),
        ("exclude=[r0,r1,r2,r3,r4,r5]", "none of 6 can be used: excluded by request"),
        ("predict.flops=[-1]", "predict.flops: found -1, expected above 0"),
        ("predict.flops=[1e400]", "predict.flops[0]: found inf (float), expected a finite number"),
        ("predict.pairs=[[1e-300,1e-300]]", "predict.pairs: found 1e-300, expected above 1e-12"),
        ("delta=1e-300", "delta: found 1e-300, expected 1e-12 to 1"),
        ("units.tokens=1e-29", "tokens: found "),
        ("compare=", "compare: "),
    ],
)
def test_an_odd_option_is_refused(capsys, tmp_path, override, says):
    assert says in refused(capsys, tmp_path, f"runs={table(tmp_path)}", override)


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("{here}/file", "{here}/file: found a file, expected a folder"),
        ("{here}/file/x/y", "{here}/file: found a file, expected a folder"),
        ("{here}/dangling", "{here}/dangling: found a file, expected a folder"),
        ("/proc/zz", "/proc/zz: cannot be written"),
        ("{here}/" + "x" * 300, "cannot be written: File name too long"),
    ],
)
def test_out_that_cannot_be_a_folder_is_told_before_any_fit(
    capsys, tmp_path, monkeypatch, out, says
):
    monkeypatch.setattr("scaling.fit.apart.fit", lambda *_: pytest.fail("it was fitted"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    path = table(tmp_path)
    before = sorted(tmp_path.iterdir())
    error = refused(capsys, tmp_path, f"runs={path}", f"out={out.format(here=tmp_path)}")
    assert "out: " in error and says.format(here=tmp_path) in error
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "file").read_text() == "mine"


def test_ten_thousand_columns_are_named_in_part(tmp_path):
    names = [f"c{index}" for index in range(10_000)]
    path = write_csv(tmp_path / "t.csv", [dict.fromkeys(["params", "tokens", *names], 1)])
    with pytest.raises(BadInput, match="and 9962 more") as error:
        admitted(path)
    assert len(str(error.value)) < 1000


def test_a_table_that_vanishes_after_it_was_read_is_no_loss(tmp_path):
    path = table(tmp_path)
    asked = config(f"runs={path}")
    sources = read_sources(asked)
    path.unlink()
    assert len(read_inputs(asked, sources).rows) == len(ROWS)


def test_values_of_by_with_slashes_stay_one_level(tmp_path):
    rows = [{**row, "kind": ("../x", "a/b", "..")[index % 3]} for index, row in enumerate(ROWS)]
    asked = config(f"runs={write_csv(tmp_path / 't.csv', rows)}", "by=kind", "out=o")
    assert [folder.parent.name for folder, _ in parts(asked)] == ["o"] * 3


def test_a_run_is_excluded_from_the_value_of_by_that_has_it(tmp_path):
    asked = config(f"runs={table(tmp_path)}", "by=kind", "exclude=[r1]")
    sources = read_sources(asked)
    found = [observe(read_inputs(part, sources).rows, part) for _, part in parts(asked, sources)]
    assert [len(runs.excluded) for runs in found] == [0, 1]
    assert sum(len(runs) for runs in found) == len(ROWS) - 1


def test_objects_in_json_lines_are_columns_with_dots(tmp_path):
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
def test_parquet_numbers_of_any_type_read(tmp_path, name, cells):
    columns = {n: cells([round(row[n], 4) for row in ROWS]) for n in NEEDED}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    expected = sorted(row["loss"] for row in ROWS)
    assert sorted(admitted(tmp_path / "t.parquet").loss) == pytest.approx(expected, abs=1e-4)


def test_parquet_of_lists_dictionaries_and_dates_reads(tmp_path):
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


def test_parquet_with_a_name_twice_is_refused(tmp_path):
    arrays = [pyarrow.array([1.0])] * 4
    parquet.write_table(pyarrow.table(arrays, names=[*NEEDED, "loss"]), tmp_path / "t.parquet")
    with pytest.raises(BadInput, match="column 'loss' twice"):
        admitted(tmp_path / "t.parquet")


def test_true_marks_the_last_row_of_a_curve(tmp_path):
    rows = [{**row, "step": i % 3, "run_id": "xy"[i // 3]} for i, row in enumerate(ROWS)]
    for row in rows:
        row["is_final"] = "True" if row["step"] == 1 else "False"
    runs = admitted(write_csv(tmp_path / "t.csv", rows))
    assert sorted(runs.loss) == sorted([ROWS[1]["loss"], ROWS[4]["loss"]])
