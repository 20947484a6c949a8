"""What is admitted to a fit, what is refused, and in which words."""

import math
import random

import numpy as np
import pytest
from fit_examples import config, write_csv
from fit_tables import admitted, refusal, row

from configs.errors import BadInput
from scaling.fit.cells import same_value
from scaling.fit.doubts import data_flags
from scaling.fit.inputs import read_inputs
from scaling.fit.observations import observe
from scaling.fit.valleys import budgets, find_valleys


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


def test_seeds_are_averaged_whatever_the_columns_are_called(tmp_path):
    rows = [
        {"name": name, "n": 1e6, "d": 1e8, "val/loss": loss, "train_loss": loss + 0.1, "seed": seed}
        for name, loss, seed in (("a", 3.0, 0), ("b", 3.2, 1))
    ]
    path = write_csv(tmp_path / "runs.csv", rows)
    mapped = {"run_id": "name", "params": "n", "tokens": "d", "loss": "val/loss"}
    runs = admitted(path, *(f"columns.{ours}={theirs}" for ours, theirs in mapped.items()))
    assert runs.run_id == ("a+b",) and runs.loss.tolist() == pytest.approx([3.1])


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


def test_the_columns_that_tell_repeated_points_apart_are_named(tmp_path):
    rows = [
        row(run_id=f"{kind}{size}", params=size, kind=kind, half=kind < "b", url=f"//{kind}{size}")
        | {"split": "train" if kind < "c" else "val", "lr": ord(kind), "Notes": kind}
        for kind in "abc"
        for size in (1e6, 2e6)
    ]
    path = write_csv(tmp_path / "runs.csv", [*rows, row(run_id="x", params=3e6, kind="z")])
    runs = admitted(path)
    assert runs.told_apart_by[:2] == ("kind", "half") and "split" in runs.told_apart_by
    assert not {"lr", "url", "Notes", "run_id"} & set(runs.told_apart_by)
    text = next(flag.text for flag in data_flags(runs) if flag.code == "repeated_points")
    assert "they differ in kind, half, split: by=kind fits each apart, where.kind=VALUE" in text
    assert admitted(path, "where.kind=a").told_apart_by == ()
    assert "split" not in admitted(path, "where.split=train").told_apart_by


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


def test_where_keeps_rows_with_one_of_several_values(tmp_path):
    rows = [row(run_id=name, kind=name, params=k * 1e6) for k, name in enumerate("xyz", 1)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert sorted(admitted(path, "where.kind=[x,z]").run_id) == ["x", "z"]
    assert admitted(path, "where.kind=[x,z]", "where.run_id=[z,y]").run_id == ("z",)
    assert "where.kind: no row with 'w'; there are x, y, z" in refusal(path, "where.kind=[x,w]")
    assert "where.run_id: no row with 'y'; there are x" in refusal(
        path, "where.kind=[x]", "where.run_id=[y]"
    )
    assert "where.kind: found an empty list" in refusal(path, "where.kind=[]")


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
    assert "no column params_matmul" in refusal(path, "convention.params=matmul")


def test_several_tables_join_and_a_repeat_between_them_is_refused(tmp_path):
    one = write_csv(tmp_path / "a.csv", [row(run_id="a")])
    other = write_csv(tmp_path / "b.csv", [row(run_id="b", params=2e6)])
    asked = config(f"runs=[{one},{other}]")
    assert observe(read_inputs(asked).rows, asked).run_id == ("a", "b")
    again = write_csv(tmp_path / "c.csv", [row(run_id="a")])
    with pytest.raises(BadInput, match="is also in"):
        admitted(f"[{one},{again}]")


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
