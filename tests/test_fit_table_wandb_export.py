"""The exports of Weights & Biases: a table of runs, a chart, and the two together."""

import csv
import shlex

import pytest

from scaling.fit.pipeline import fit
from scaling.fit.table.inputs import read_inputs
from tests.support.fit_examples import config
from tests.support.fit_runs import read, refusal

MEASURED = ["model.n_params", "train/tokens", "val/loss"]
RUNS = ["Name", "State", "Created", "Runtime", "Sweep", *MEASURED]
TABLE = [
    ["small - lr 1", "finished", "2026-01-02T10:00:00.000Z", 360, "", 1e8, 2e9, 3.4],
    ["large", "finished", "2026-01-02T11:00:00.000Z", 720, "", 4e8, 8e9, 3.0],
    ["lost", "crashed", "2026-01-02T12:00:00.000Z", 60, "", 4e8, 1e8, ""],
    ["busy", "running", "2026-01-02T12:30:00.000Z", 60, "", 4e8, 1e8, 5.1],
]
MAPPED = ("columns.params=model.n_params", "columns.tokens=train/tokens", "columns.loss=val/loss")


def export(path, header, rows):
    """As the web page writes it: every cell in quotes."""
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return path


def chart(path, axis="Step", metrics=("val/loss",), x=(0, 100, 200)):
    header, columns = [axis], []
    for run, top in (("small - lr 1", 4.0), ("large", 3.5), ("other", 3.2)):
        for metric in metrics:
            header += [f"{run} - {metric}{end}" for end in ("", "__MIN", "__MAX")]
            columns.append([top - 0.1 * k for k in range(len(x))])
    rows = [[at, *(c[k] for c in columns for _ in range(3))] for k, at in enumerate(x)]
    rows[1][1] = ""  # a run may have no value at a step of another
    return export(path, header, rows)


def test_adopt_leaves_seeds_to_be_averaged(tmp_path):
    """Seeds of a runs table are averaged."""
    rows = [
        [*TABLE[0], 0],
        ["small - seed 1", *TABLE[0][1:2], "2026-01-03", 361, "", 1e8, 2e9, 3.6, 1],
    ]
    _, points = read(export(tmp_path / "wandb.csv", [*RUNS, "seed"], rows), *MAPPED)
    assert points.loss.tolist() == pytest.approx([3.5]) and points.merged == 1


def test_adopt_lists_what_did_not_finish(tmp_path):
    """A runs table reads and lists what did not finish."""
    inputs, points = read(export(tmp_path / "wandb.csv", RUNS, TABLE), *MAPPED)
    assert points.run_id == ("small - lr 1", "large")
    assert points.params.tolist() == [1e8, 4e8] and points.loss.tolist() == [3.4, 3.0]
    reasons = [(lost.run_id, lost.reason) for lost in points.excluded]
    assert reasons == [("busy", "status running"), ("lost", "status crashed")]
    assert points.planned == 4 and inputs.curves == {}


def test_adopt_identifies_by_the_id_where_it_is_exported(tmp_path):
    """The id identifies where it is exported."""
    rows = [["same", *row[1:], f"id{index}"] for index, row in enumerate(TABLE)]
    path = export(tmp_path / "wandb.csv", [*RUNS, "ID"], rows)
    assert read(path, *MAPPED)[1].run_id == ("id0", "id1")


def test_adopt_lets_a_run_be_excluded_by_its_name_or_its_id(tmp_path):
    """A run is excluded by its name or its id."""
    rows = [[*row, f"id{index}"] for index, row in enumerate(TABLE)]
    path = export(tmp_path / "wandb.csv", [*RUNS, "ID"], rows)
    for name in ("large", "id1"):
        found = read(path, *MAPPED, f"exclude=[{name}]")[1]
        assert found.run_id == ("id0",)
        assert ("id1", "excluded by request") in [(e.run_id, e.reason) for e in found.excluded]


def test_adopt_finds_columns_with_a_prefix_without_it(tmp_path):
    """Columns with a prefix are found without it."""
    header = [*RUNS[:5], "config.params", "summary.tokens", "summary.loss"]
    assert len(read(export(tmp_path / "wandb.csv", header, TABLE))[1]) == 2


def test_adopt_leaves_a_table_alone_that_has_such_names_of_its_own(tmp_path):
    """A table with such names of its own is left alone."""
    rows = [["a", "California", 1e6, 1e8, 3.0], ["b", "Oregon", 2e6, 1e8, 2.9]]
    path = export(tmp_path / "t.csv", ["Name", "State", "params", "tokens", "loss"], rows)
    assert read(path)[1].run_id == ("row-00001", "row-00002")


@pytest.mark.parametrize(
    ("missing", "column"),
    [
        ("params", "model.n_params"),
        ("params", "config.num_parameters"),
        ("params", "Trainable params"),
        ("tokens", "train/tokens"),
        ("tokens", "num_input_tokens_seen"),
        ("tokens", "throughput/total_tokens"),
        ("loss", "val/loss"),
        ("loss", "eval/loss"),
        ("loss", "summary.val_loss"),
        ("loss", "train/loss"),
    ],
)
def test_check_columns_suggests_the_usual_names(tmp_path, missing, column):
    """The usual names are suggested."""
    names = {"params": "params", "tokens": "tokens", "loss": "loss"} | {missing: column}
    header = ["Name", "State", "Runtime", "lr", *names.values()]
    path = export(tmp_path / "t.csv", header, [["a", "finished", 1, 1e-3, 1e6, 1e8, 3.0]])
    plain = column.removeprefix("summary.").removeprefix("config.")
    if plain != missing:
        assert refusal(path).endswith(f"map it, as {shlex.quote(f'columns.{missing}={column}')}")


def test_chart_curve_gives_runs_their_curves(tmp_path):
    """A chart gives its runs their curves."""
    table = export(tmp_path / "runs.csv", RUNS, TABLE)
    inputs, points = read(f"[{table},{chart(tmp_path / 'chart.csv')}]", *MAPPED)
    assert points.run_id == ("small - lr 1", "large")
    small, large = inputs.curves["small - lr 1"], inputs.curves["large"]
    assert small.step.tolist() == [200] and small.tokens.tolist() == [2e9]
    # Steps count tokens in proportion; the run's last step is where it had all of them.
    assert large.step.tolist() == [100, 200] and large.tokens.tolist() == [4e9, 8e9]
    assert large.loss == pytest.approx([3.4, 3.3])
    assert [(lost.run_id, lost.reason) for lost in points.excluded] == [
        ("busy", "status running"),
        ("lost", "status crashed"),
        ("other", "status unknown: in the chart, but in no table of runs"),
    ]
    assert points.planned == 5


def test_chart_curve_over_tokens_needs_no_proportion(tmp_path):
    """A chart over tokens needs no proportion."""
    table = export(tmp_path / "runs.csv", RUNS, [[*r[:6], r[6] / 1e9, r[7]] for r in TABLE])
    drawn = chart(tmp_path / "chart.csv", axis="train/tokens", x=(0.0, 3.0, 8.0))
    inputs, _ = read(f"[{table},{drawn}]", *MAPPED, "units.tokens=1e9")
    assert inputs.curves["large"].tokens.tolist() == [3e9, 8e9]


def test_read_chart_asks_for_what_a_chart_lacks(tmp_path):
    """What a chart lacks is asked for."""
    table = export(tmp_path / "runs.csv", RUNS, TABLE)
    lone = chart(tmp_path / "a.csv")
    assert "a chart alone has no params and tokens" in refusal(lone)
    timed = chart(tmp_path / "b.csv", axis="Relative Time (Process)")
    assert "expected Step or tokens" in refusal(f"[{table},{timed}]", *MAPPED)
    both = chart(tmp_path / "c.csv", metrics=("val/loss", "lr"))
    assert len(read(f"[{table},{both}]", *MAPPED)[0].curves) == 2
    unclear = chart(tmp_path / "d.csv", metrics=("train/loss", "lr"))
    says = refusal(f"[{table},{unclear}]", *MAPPED)
    assert says.endswith("metrics lr, train/loss, expected one; choose it by columns.loss=")


def test_read_chart_refuses_a_bad_value_with_its_line(tmp_path):
    """A bad value of a chart is refused with its line."""
    table = export(tmp_path / "runs.csv", RUNS, TABLE)
    drawn = chart(tmp_path / "chart.csv")
    drawn.write_text(drawn.read_text().replace('"3.4"', '"NaN"', 1))
    says = refusal(f"[{table},{drawn}]", *MAPPED)
    assert f"{drawn}:3 (run large): large - val/loss: found 'NaN', expected a number" in says


def test_adopt_joins_two_tables_and_units_are_warned_of(tmp_path):
    """Two tables join and units are warned of."""
    one = export(tmp_path / "a.csv", RUNS, TABLE[:1])
    other = export(tmp_path / "b.csv", RUNS, TABLE[1:])
    asked = config(f"runs=[{one},{other}]", *MAPPED, "units.params=1e0", "n_bootstrap=0")
    document = fit(asked).document.to_json()
    assert document["inputs"]["planned"] == 4 and document["inputs"]["used"] == 2
    assert {"code": "converted", "text": "columns were multiplied: params x 1"} in document[
        "warnings"
    ]


@pytest.mark.parametrize(("prefix", "column"), [("Group", "Group"), ("width", "config.width")])
def test_chart_of_groups_gives_curves_where_a_group_is_one_run(tmp_path, prefix, column):
    """Means over several runs are told and are no curves; no group counts as a run."""
    rows = [[f"run {k}", "finished", f"s{min(k, 2)}", k * 1e6, 1e8, 3.0] for k in (1, 2, 3)]
    header = ["Name", "State", column, "params", "tokens", "loss"]
    runs = export(tmp_path / "runs.csv", header, rows)
    lines = [f"{prefix}: s1 - loss", f"{prefix}: s2 - loss"]
    chart = export(tmp_path / "chart.csv", ["Step", *lines], [[10, 4.0, 5.0], [20, 3.0, 4.0]])
    asked = config(f"runs=[{runs},{chart}]")
    inputs = read_inputs(asked)
    assert len(inputs.runs) == 3 and list(inputs.curves) == ["run 1"]
    assert inputs.curves["run 1"].loss.tolist() == [4.0, 3.0]
    [flag] = [flag for flag in inputs.flags if flag.code == "grouped_chart"]
    assert f"means of runs, which are no curves: {prefix}: s2 (2 runs)" in flag.text
