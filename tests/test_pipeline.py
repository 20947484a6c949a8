"""From config to report, on real text: what each stage leaves is what the next one reads."""

import csv
import json
from pathlib import Path

import pytest

import fit
import sweep
from configs.cli import run_entry
from configs.load import compose_config
from configs.schema import build
from scaling.fit.config import FitConfig
from scaling.fit.pipeline import fit as fit_runs
from scaling.report.document import study_of
from scaling.report.figures.isoflop import seeds_of
from tests.support.json_schema import problems

GRID = [
    "experiment=smoke",
    "grid.budgets=[2e8,4e8,8e8]",
    "grid.sizes=3",
    "grid.min_steps=10",
    "grid.centre.tokens_per_param=2",
    "grid.seeds_at_centre=2",
    "evaluation.tokens=6400",
    "fit.n_bootstrap=100",
]


def read(path: Path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    out = folder / "sweep"
    argv = [*GRID, f"out={out}", f"runtime.data_dir={folder / 'shards'}"]
    assert run_entry(sweep.main, "sweep", "", argv) == 0
    return out


def test_every_planned_trial_has_its_record_and_its_row(out):
    plan = read(out / "plan.json")
    budgets = {trial["id"]: trial["flops_budget"] for trial in plan["trials"]}
    assert len(budgets) == 12  # three budgets of three sizes, the centres twice
    records = {path.parent.name: read(path) for path in out.glob("trials/*/record.json")}
    with (out / "runs.csv").open() as file:
        rows = {row["run_id"]: row for row in csv.DictReader(file)}
    assert set(budgets) == set(records) == set(rows)
    for name, record in records.items():
        assert record["status"] == "done" and record["id"] == name
        assert record["data_digest"] == plan["data_digest"]
        assert abs(record["flops_exact"] / budgets[name] - 1) < 0.1  # whole batches, few of them
        row = rows[name]
        assert float(row["flops_budget"]) == budgets[name]
        assert float(row["loss"]) == record["loss"]
        assert float(row["params"]) == record["flops_exact"] / (6 * record["tokens"])


def test_the_fit_accounts_for_every_run_and_keeps_to_its_schema(out):
    document = read(out / "fit" / "fit.json")
    assert problems(document) == []
    inputs = document["inputs"]
    assert inputs["planned"] == 12 == inputs["used"] + len(inputs["excluded"])
    assert inputs["observations"] == 9 and inputs["merged"] == 3
    page = (out / "fit" / "report.html").read_text()
    assert set(document["laws"]) >= {"isoflop", "parametric", "kaplan"}
    assert "12 runs of 12 used" in page and (out / "fit" / "fit.md").exists()


def test_every_seed_has_its_own_point_on_the_page(out):
    values = compose_config("fit", [f"runs={out}", "n_bootstrap=0"])
    fitted = fit_runs(build(FitConfig, values))
    drawn = seeds_of(study_of(fitted))
    losses = {p.parent.name: read(p)["loss"] for p in out.glob("trials/*/record.json")}
    assert len(drawn) == 6
    for seed in drawn:
        assert seed.loss == pytest.approx(losses[seed.run_id], rel=1e-4)


def test_the_table_of_runs_alone_gives_the_same_laws(out, tmp_path):
    """What a sweep leaves can be mailed as one CSV and fitted without the sweep.

    All but the envelope: the curves stay in the sweep.
    """
    argv = [f"runs={out / 'runs.csv'}", f"out={tmp_path}", "n_bootstrap=100", "require=[]"]
    assert run_entry(fit.main, "fit", "", argv) == 0
    ours, theirs = read(out / "fit" / "fit.json"), read(tmp_path / "fit.json")
    ours["laws"].pop("envelope", None)
    for part in ("laws", "predictions", "holdout"):
        assert ours[part] == theirs[part]
