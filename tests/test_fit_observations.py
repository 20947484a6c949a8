"""What is admitted to a fit, what is refused, and in which words."""

import json
import math
import random

import numpy as np
import pytest
from fit_examples import config, write_csv

from configs.errors import BadInput
from scaling.fit.cells import same_value
from scaling.fit.inputs import read_inputs
from scaling.fit.observations import observe
from scaling.fit.tables import read_table
from scaling.fit.valleys import budgets, find_valleys


def row(**changes):
    return {"run_id": "a", "params": 1e6, "tokens": 1e8, "loss": 3.0, **changes}


def admitted(path, *overrides):
    asked = config(f"runs={path}", *overrides)
    return observe(read_inputs(asked).rows, asked)


def refusal(path, *overrides):
    with pytest.raises(BadInput) as error:
        admitted(path, *overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


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


def test_repeated_rows_are_refused(tmp_path):
    path = write_csv(tmp_path / "runs.csv", [row(), row(loss=3.1)])
    text = refusal(path)
    assert "run_id a with 1e+08 tokens is also in" in text


def test_one_run_at_two_horizons_is_two_observations(tmp_path):
    path = write_csv(tmp_path / "runs.csv", [row(), row(tokens=2e8, loss=2.9)])
    assert len(admitted(path)) == 2


def test_seeds_are_averaged_and_counted(tmp_path):
    rows = [
        row(run_id="a", seed=0, loss=3.0),
        row(run_id="b", seed=1, loss=3.2),
        row(run_id="c", seed=0, params=2e6, loss=2.9),
    ]
    runs = admitted(write_csv(tmp_path / "runs.csv", rows))
    assert runs.run_id == ("a+b", "c") and runs.members == {"a+b": ("a", "b")}
    assert runs.loss.tolist() == pytest.approx([3.1, 2.9])
    assert (runs.planned, runs.merged, len(runs)) == (3, 1, 2)
    # Two seeds 0.2 apart: sd 0.2 / sqrt 2 for one run, 0.1 for the mean of two.
    assert runs.loss_se.tolist() == pytest.approx([0.1, 0.2 / math.sqrt(2)])


def test_a_plus_in_a_run_id_is_no_average(tmp_path):
    rows = [row(run_id=f"wiki+code-{seed}", seed=seed, loss=3.0) for seed in (0, 1)]
    runs = admitted(write_csv(tmp_path / "runs.csv", [*rows, row(run_id="c+d", params=2e6)]))
    assert runs.members == {"wiki+code-0+wiki+code-1": ("wiki+code-0", "wiki+code-1")}


def test_runs_that_differ_in_more_than_the_seed_stay_apart(tmp_path):
    rows = [row(run_id="a", seed=0, lr=1e-3), row(run_id="b", seed=1, lr=2e-3)]
    assert len(admitted(write_csv(tmp_path / "runs.csv", rows))) == 2


def test_repeated_points_stay_unless_the_best_is_asked_for(tmp_path):
    rows = [row(run_id="a", loss=3.1), row(run_id="b", loss=3.0), row(run_id="c", tokens=2e8)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert len(admitted(path)) == 3
    best = admitted(path, "reduce=best")
    assert best.run_id == ("b", "c")
    assert [(e.run_id, e.reason) for e in best.excluded] == [("a", "reduce=best: b is lower")]
    assert best.planned == len(best) + len(best.excluded)


def test_planned_is_used_plus_excluded(tmp_path):
    rows = [
        row(run_id="a", status="done"),
        row(run_id="b", status="diverged", loss="", reason="loss not finite at step 12"),
        row(run_id="c", status="oom", loss="nan"),
        row(run_id="d", status="done", params=2e6),
    ]
    runs = admitted(write_csv(tmp_path / "runs.csv", rows), "exclude=[d]")
    assert runs.run_id == ("a",)
    assert [(e.run_id, e.reason) for e in runs.excluded] == [
        ("b", "status diverged: loss not finite at step 12"),
        ("c", "status oom"),
        ("d", "excluded by request"),
    ]
    assert runs.planned == len(runs) + runs.merged + len(runs.excluded) == 4


def test_an_unknown_run_to_exclude_is_refused(tmp_path):
    path = write_csv(tmp_path / "runs.csv", [row(run_id="trial-1")])
    assert "no run 'trial-2'; did you mean trial-1?" in refusal(path, "exclude=[trial-2]")


@pytest.mark.parametrize("name", ["dataset", "vocab_size", "block_size", "tokenizer"])
def test_runs_that_do_not_belong_together_are_refused(tmp_path, name):
    rows = [row(run_id="a", **{name: 256}), row(run_id="b", params=2e6, **{name: 50257})]
    text = refusal(write_csv(tmp_path / "runs.csv", rows))
    assert text.startswith(f"{name}: found 256, 50257, expected one value")
    assert f"where.{name}=" in text


def test_where_keeps_rows_with_that_value(tmp_path):
    rows = [row(run_id="a", kind="x", level=1), row(run_id="b", kind="y", level=2)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert admitted(path, "where.kind=y").run_id == ("b",)
    assert admitted(path, "where.level=1.0").run_id == ("a",)
    assert "where.kind: no row with 'z'; there are x, y" in refusal(path, "where.kind=z")
    assert "did you mean kind?" in refusal(path, "where.kinds=x")


def test_values_are_the_same_as_numbers_or_as_text():
    assert same_value("0", 0) and same_value("1e3", 1000) and same_value("a", "a")
    assert not same_value("a", 0) and not same_value(None, 0) and not same_value("01x", "1x")


def test_a_curves_table_gives_final_points_and_curves(tmp_path):
    rows = [
        row(run_id=name, step=step, tokens=step * 1e6, loss=4 - step / 10, is_final=final)
        for name in ("a", "b")
        for step, final in ((3, 1 if name == "a" else 0), (1, 0), (2, 0))
    ]
    asked = config(f"runs={write_csv(tmp_path / 'runs.csv', rows)}")
    inputs = read_inputs(asked)
    runs = observe(inputs.rows, asked)
    assert runs.run_id == ("a", "b")
    assert runs.tokens.tolist() == [3e6, 3e6]
    assert runs.planned == 2
    assert inputs.curves["a"].step.tolist() == [1, 2, 3]
    assert runs.columns["unmarked_end"].tolist() == pytest.approx([math.nan, 1], nan_ok=True)


def test_the_order_of_rows_changes_nothing(tmp_path):
    rng = random.Random(0)
    rows = [
        row(
            run_id=f"r{i}", params=10.0 ** (6 + i % 5), tokens=1e8 * (1 + i), seed=i % 2, loss=2 + i
        )
        for i in range(20)
    ]
    first = admitted(write_csv(tmp_path / "a.csv", rows))
    rng.shuffle(rows)
    other = admitted(write_csv(tmp_path / "b.csv", rows))
    assert first.run_id == other.run_id
    for name in ("params", "tokens", "loss", "loss_se"):
        assert np.array_equal(getattr(first, name), getattr(other, name), equal_nan=True)


def test_rows_without_names_get_them_by_content(tmp_path):
    rows = [{"params": n, "tokens": 1e8, "loss": 3.0} for n in (3e6, 1e6, 2e6)]
    one = admitted(write_csv(tmp_path / "a.csv", rows))
    other = admitted(write_csv(tmp_path / "b.csv", rows[::-1]))
    assert one.run_id == other.run_id == ("row-00001", "row-00002", "row-00003")
    assert one.params.tolist() == [1e6, 2e6, 3e6]


def test_budgets_beyond_64_bits_stay_exact(tmp_path):
    path = write_csv(tmp_path / "a.csv", [row(params=10**13, tokens=10**13, flops=6 * 10**26)])
    assert admitted(path).flops[0] == 6e26
    path = write_csv(tmp_path / "b.csv", [row(params=10**13, tokens=10**13)])
    assert admitted(path).flops[0] == 6e26


def test_a_convention_takes_its_columns(tmp_path):
    path = write_csv(tmp_path / "a.csv", [row(params_total=3e6, flops=1e15, flops_exact=2e15)])
    runs = admitted(path, "convention.params=total", "convention.flops=6nd")
    assert (runs.params[0], runs.flops[0]) == (3e6, 6 * 3e6 * 1e8)
    assert admitted(path, "convention.flops=exact").flops[0] == 2e15
    assert "params_matmul: found nothing" in refusal(path, "convention.params=matmul")


def test_several_tables_join_and_a_repeat_between_them_is_refused(tmp_path):
    one = write_csv(tmp_path / "a.csv", [row(run_id="a")])
    other = write_csv(tmp_path / "b.csv", [row(run_id="b", params=2e6)])
    asked = config(f"runs=[{one},{other}]")
    assert observe(read_inputs(asked).rows, asked).run_id == ("a", "b")
    again = write_csv(tmp_path / "c.csv", [row(run_id="a")])
    with pytest.raises(BadInput, match="is also in"):
        admitted(f"[{one},{again}]")


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


ARMS = ("grid", "horizons", "scout", "tuning", "control_long_warmup", "control_long_cosine")


def test_arms_off_the_rule_are_no_points_of_a_law_and_are_listed(tmp_path):
    rows = [row(run_id=arm, params=10.0**n, arm=arm) for n, arm in enumerate(ARMS, 6)]
    path = write_csv(tmp_path / "runs.csv", [*rows, row(run_id="none", arm=None)])
    runs = admitted(path)
    assert set(runs.run_id) == {"grid", "horizons", "none"}
    assert runs.planned == len(runs) + len(runs.excluded) == 7
    reasons = {lost.run_id: lost.reason for lost in runs.excluded}
    assert reasons["tuning"] == "arm tuning: learning rate or batch off the rule"
    assert reasons["control_long_cosine"].startswith("arm control_long_cosine: its cosine")


def test_an_arm_can_be_asked_for(tmp_path):
    rows = [row(run_id=arm, params=10.0**n, arm=arm) for n, arm in enumerate(ARMS, 6)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert admitted(path, "where.arm=tuning").run_id == ("tuning",)


def test_an_arm_of_another_study_is_a_column_like_any(tmp_path):
    path = write_csv(tmp_path / "runs.csv", [row(arm="control"), row(run_id="b", arm="treated")])
    assert len(admitted(path)) == 2


def test_a_horizon_near_a_budget_is_not_in_its_valley(tmp_path):
    grid = [row(run_id=f"g{n}", params=n * 1e6, flops_budget=1e15, arm="grid") for n in (1, 2, 4)]
    near = row(run_id="h", params=3e6, flops=1.05e15, flops_budget=None, arm="horizons")
    runs = admitted(write_csv(tmp_path / "runs.csv", [*grid, near]))
    found = {flops: runs.run_id[members[0]] for flops, members in budgets(runs, 0.2)}
    assert found == {1e15: "g1", 1.05e15: "h"}
    assert [valley.n_points for valley in find_valleys(runs, 0.2)] == [3]
