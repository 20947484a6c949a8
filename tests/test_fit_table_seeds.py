"""The same run twice: refused, averaged over seeds, or told apart."""

import math

import pytest

from scaling.fit.data_flags import data_flags
from tests.support.fit_examples import write_csv
from tests.support.fit_tables import admitted, refusal, row


def test_check_repeats_refuses_repeated_rows(tmp_path):
    """Repeated rows are refused."""
    path = write_csv(tmp_path / "runs.csv", [row(), row(loss=3.1)])
    text = refusal(path)
    assert "run_id a with 1e+08 tokens is also in" in text


def test_check_repeats_takes_one_run_at_two_horizons(tmp_path):
    """One run at two horizons is two observations."""
    path = write_csv(tmp_path / "runs.csv", [row(), row(tokens=2e8, loss=2.9)])
    assert len(admitted(path)) == 2


def test_checkpoints_without_a_step_are_told(tmp_path):
    """Rows of one run at three amounts of data are a curve, whose losses had not yet settled."""
    rows = [row(tokens=n * 1e8, loss=3 - 0.1 * n) for n in (1, 2, 3)]
    for step, codes in ((None, ["unsettled_schedule"]), (1, [])):
        steps = [one | ({"step": n * step} if step else {}) for n, one in enumerate(rows, 1)]
        runs = admitted(write_csv(tmp_path / f"{step}.csv", steps), "rows=runs")
        found = [flag for flag in data_flags(runs) if "several rows" in flag.text]
        assert [flag.code for flag in found] == codes
        assert all("as a has 3" in flag.text and "columns.step=" in flag.text for flag in found)


@pytest.mark.parametrize(("spaced", "told"), [("even", True), ("log", False)])
def test_checkpoints_without_a_name_are_told_by_their_even_steps(tmp_path, spaced, told):
    """Runs of a grid are at even ratios of data; a name and a step given leave one row a size."""
    tokens = [k * 1e8 if spaced == "even" else 1e8 * 1.5**k for k in range(1, 9)]
    rows = [
        {"params": n, "tokens": d, "loss": 2 + (d / 1e6) ** -0.3 + (n / 1e4) ** -0.3}
        for n in (1e6, 2e6, 4e6)
        for d in tokens
    ]
    path = write_csv(tmp_path / "t.csv", rows)
    texts = [flag.text for flag in data_flags(admitted(path)) if flag.code == "unsettled_schedule"]
    assert any("24 rows of 3 sizes stand at even steps" in text for text in texts) == told
    assert len(admitted(path, "columns.run_id=params", "columns.step=tokens")) == 3
    named = write_csv(
        tmp_path / "n.csv", [{**row, "run_id": f"r{k}"} for k, row in enumerate(rows)]
    )
    texts = [flag.text for flag in data_flags(admitted(named))]
    assert not any("even steps" in text for text in texts)


def test_average_losses_averages_and_counts_seeds(tmp_path):
    """Seeds are averaged and counted."""
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


def test_seed_groups_finds_seeds_whatever_the_columns_are_called(tmp_path):
    """Seeds are averaged whatever the columns are called."""
    rows = [
        {"name": name, "n": 1e6, "d": 1e8, "val/loss": loss, "train_loss": loss + 0.1, "seed": seed}
        for name, loss, seed in (("a", 3.0, 0), ("b", 3.2, 1))
    ]
    path = write_csv(tmp_path / "runs.csv", rows)
    mapped = {"run_id": "name", "params": "n", "tokens": "d", "loss": "val/loss"}
    runs = admitted(path, *(f"columns.{ours}={theirs}" for ours, theirs in mapped.items()))
    assert runs.run_id == ("a+b",) and runs.loss.tolist() == pytest.approx([3.1])


def test_seed_groups_takes_a_plus_in_a_run_id_for_no_average(tmp_path):
    """A plus in a run id is no average."""
    rows = [row(run_id=f"wiki+code-{seed}", seed=seed, loss=3.0) for seed in (0, 1)]
    runs = admitted(write_csv(tmp_path / "runs.csv", [*rows, row(run_id="c+d", params=2e6)]))
    assert runs.members == {"wiki+code-0+wiki+code-1": ("wiki+code-0", "wiki+code-1")}


def test_seed_groups_keeps_runs_apart_that_differ_in_more_than_the_seed(tmp_path):
    """Runs that differ in more than the seed stay apart."""
    rows = [row(run_id="a", seed=0, lr=1e-3), row(run_id="b", seed=1, lr=2e-3)]
    assert len(admitted(write_csv(tmp_path / "runs.csv", rows))) == 2


def test_told_apart_by_names_the_columns_that_tell_repeated_points_apart(tmp_path):
    """The columns that tell repeated points apart are named."""
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


def test_seed_groups_take_columns_of_any_name(tmp_path):
    """Columns that are called as those by which rows are grouped, or as a path of Arrow's."""
    names = ("row", "apart", "0", ".x", "[0]")
    rows = [row(run_id=f"r{i}", seed=i) | dict.fromkeys(names, i // 2) for i in range(4)]
    assert admitted(write_csv(tmp_path / "t.csv", rows)).run_id == ("r0+r1", "r2+r3")
