"""What is admitted to a fit, what is refused, and in which words."""

import random

import numpy as np
import pytest

from scaling.fit.isoflop.profiles import budgets, find_profiles
from tests.support.fit_examples import write_csv
from tests.support.fit_tables import admitted, refusal, row

ARMS = ("grid", "horizons", "scout", "tuning", "control_long_warmup", "control_long_cosine")


@pytest.mark.parametrize("loss", ["", "nan", "inf"])
def test_observe_refuses_a_run_without_a_loss_with_the_remedy(tmp_path, loss):
    """A run without a loss is refused with the remedy."""
    path = tmp_path / "runs.csv"
    write_csv(path, [row(run_id="good"), row(run_id="dead", params=2e6, loss=loss)])
    assert refusal(path).endswith("expected a number; incomplete=exclude leaves the run out")
    assert admitted(path, "exclude=[dead]").run_id == ("good",)


def test_observe_keeps_repeated_points_unless_the_best_is_asked_for(tmp_path):
    """Repeated points stay unless the best is asked for."""
    rows = [row(run_id="a", loss=3.1), row(run_id="b", loss=3.0), row(run_id="c", tokens=2e8)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert len(admitted(path)) == 3
    best = admitted(path, "reduce=best")
    assert best.run_id == ("b", "c")
    assert [(e.run_id, e.reason) for e in best.excluded] == [("a", "reduce=best: b is lower")]
    assert best.planned == len(best) + len(best.excluded)


def test_observe_plans_what_it_uses_plus_what_it_excludes(tmp_path):
    """Planned is used plus excluded."""
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


@pytest.mark.parametrize("name", ["dataset", "vocab_size", "block_size", "tokenizer"])
def test_admit_refuses_runs_that_do_not_belong_together(tmp_path, name):
    """Runs that do not belong together are refused."""
    rows = [row(run_id="a", **{name: 256}), row(run_id="b", params=2e6, **{name: 50257})]
    text = refusal(write_csv(tmp_path / "runs.csv", rows))
    assert text.startswith(f"{name}: found 256, 50257, expected one value")
    assert f"where.{name}=" in text


def test_observe_does_not_depend_on_the_order_of_rows(tmp_path):
    """The order of rows changes nothing."""
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


def test_observe_numbers_rows_without_a_name_as_the_file_has_them(tmp_path):
    """Of several files one goes on where the other ends; what was left out before counts too."""
    rows = [{"params": n, "tokens": 1e8, "loss": 3.0, "kind": "x"} for n in (3e6, 1e6, 2e6)]
    rows[0]["kind"] = "y"
    one, other = write_csv(tmp_path / "a.csv", rows), write_csv(tmp_path / "b.csv", rows[::-1])
    found = admitted(one)
    assert found.run_id == ("row-00002", "row-00003", "row-00001")
    assert found.params.tolist() == [1e6, 2e6, 3e6]
    assert admitted(one, "where.kind=x").run_id == ("row-00002", "row-00003")
    more = write_csv(tmp_path / "c.csv", [{**row, "params": 7 * row["params"]} for row in rows])
    assert set(admitted(f"[{other},{more}]").run_id) == {f"row-0000{k}" for k in range(1, 7)}


def test_observe_keeps_budgets_beyond_64_bits_exact(tmp_path):
    """Budgets beyond 64 bits stay exact."""
    path = write_csv(tmp_path / "a.csv", [row(params=10**13, tokens=10**13, flops=6 * 10**26)])
    assert admitted(path).flops[0] == 6e26
    path = write_csv(tmp_path / "b.csv", [row(params=10**13, tokens=10**13)])
    assert admitted(path).flops[0] == 6e26


def test_observe_takes_the_columns_of_a_convention(tmp_path):
    """A convention takes its columns."""
    path = write_csv(tmp_path / "a.csv", [row(params_total=3e6, flops=1e15, flops_exact=2e15)])
    runs = admitted(path, "convention.params=total", "convention.flops=6nd")
    assert (runs.params[0], runs.flops[0]) == (3e6, 6 * 3e6 * 1e8)
    assert admitted(path, "convention.flops=exact").flops[0] == 2e15
    assert "no column params_matmul" in refusal(path, "convention.params=matmul")


def test_observe_lists_arms_off_the_rule_as_no_points_of_a_law(tmp_path):
    """Arms off the rule are no points of a law and are listed."""
    rows = [row(run_id=arm, params=10.0**n, arm=arm) for n, arm in enumerate(ARMS, 6)]
    path = write_csv(tmp_path / "runs.csv", [*rows, row(run_id="none", arm=None)])
    runs = admitted(path)
    assert set(runs.run_id) == {"grid", "horizons", "none"}
    assert runs.planned == len(runs) + len(runs.excluded) == 7
    reasons = {lost.run_id: lost.reason for lost in runs.excluded}
    assert reasons["tuning"] == "arm tuning: learning rate or batch off the rule"
    assert reasons["control_long_cosine"].startswith("arm control_long_cosine: its cosine")


def test_observe_admits_an_arm_that_is_asked_for(tmp_path):
    """An arm can be asked for."""
    rows = [row(run_id=arm, params=10.0**n, arm=arm) for n, arm in enumerate(ARMS, 6)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert admitted(path, "where.arm=tuning").run_id == ("tuning",)


def test_observe_takes_an_arm_of_another_study_for_a_column_like_any(tmp_path):
    """An arm of another study is a column like any."""
    path = write_csv(tmp_path / "runs.csv", [row(arm="control"), row(run_id="b", arm="treated")])
    assert len(admitted(path)) == 2


def test_observe_keeps_a_horizon_near_a_budget_out_of_its_isoflop_curve(tmp_path):
    """A horizon near a budget is not in its IsoFLOP curve."""
    grid = [row(run_id=f"g{n}", params=n * 1e6, flops_budget=1e15, arm="grid") for n in (1, 2, 4)]
    near = row(run_id="h", params=3e6, flops=1.05e15, flops_budget=None, arm="horizons")
    runs = admitted(write_csv(tmp_path / "runs.csv", [*grid, near]))
    found = {flops: runs.run_id[members[0]] for flops, members in budgets(runs, 0.2)}
    assert found == {1e15: "g1", 1.05e15: "h"}
    assert [valley.n_points for valley in find_profiles(runs, 0.2)] == [3]


def test_observe_reads_the_part_of_a_run_beside_its_arm(tmp_path):
    """Where arms are compared `part` says what a run is for, and each arm is fitted alone."""
    kinds = [("a", "grid"), ("a", "tuning"), ("b", "grid"), ("b", "control_long_cosine")]
    rows = [
        row(run_id=f"{arm}{part}", params=10.0**n, arm=arm, part=part)
        for n, (arm, part) in enumerate(kinds, 6)
    ]
    path = write_csv(tmp_path / "runs.csv", rows)
    found = admitted(path, "where.arm=b")
    assert found.run_id == ("bgrid",)
    assert found.excluded[0].reason.startswith("part control_long_cosine: its cosine")
    assert admitted(path, "where.part=tuning").run_id == ("atuning",)


def test_observe_averages_no_seeds_of_two_arms(tmp_path):
    """Runs of two arms are no repeats of each other, though nothing else tells them apart."""
    rows = [row(run_id=f"{arm}{seed}", arm=arm, seed=seed) for arm in "ab" for seed in (0, 1)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert sorted(admitted(path).run_id) == ["a0+a1", "b0+b1"]
