"""From files to fit.json: its shape, its sums, its exit statuses, and that order changes no bit."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import BadInput, ExitStatus
from common.files import to_json
from scaling.fit.results.document import Convention
from tests.support.fit_examples import write_csv
from tests.support.fit_runs import QUICK, SURFACE, check, fitted, run, table

ROOT = Path(__file__).resolve().parent.parent


def test_fit_of_a_table(tmp_path):
    """Fit json of a table."""
    found = fitted(f"runs={table(tmp_path)}", QUICK, "predict.flops=[1e21]")
    check(found.document.to_json())
    assert found.document.status == "ok"
    assert found.document.convention == Convention("given", "given")
    assert len(found.document.parametric.residuals) == len(found.observations) == 35
    far = [row for row in found.document.to_json()["predictions"] if row["flops"] == 1e21]
    assert {row["law"] for row in far} == {"isoflop", "parametric", "over_training"}
    for row in far:
        n, d = SURFACE.optimal_allocation(1e21)
        assert row["n_opt"]["value"] == pytest.approx(n, rel=0.3)
        assert row["n_opt"]["value"] * row["d_opt"]["value"] == pytest.approx(1e21 / 6, rel=0.02)
    held = found.document.to_json()["holdout"]
    assert held["status"] == "ok"
    assert abs(held["loss_error"]) < 0.01
    assert abs(held["n_opt_error"]) < 0.2


def test_fit_ignores_the_order_of_rows(tmp_path):
    """The order of rows changes no bit of the laws."""
    path = table(tmp_path)
    lines = path.read_text().splitlines()
    shuffled = lines[1:]
    random.Random(1).shuffle(shuffled)
    other = tmp_path / "other.csv"
    other.write_text("\n".join([lines[0], *shuffled]) + "\n")
    one, two = (fitted(f"runs={p}", QUICK).document.to_json() for p in (path, other))
    for part in ("laws", "predictions", "holdout", "inputs", "warnings"):
        assert to_json(one[part]) == to_json(two[part])


def test_fit_without_bootstrap_has_no_intervals(tmp_path):
    """No bootstrap gives numbers without intervals."""
    document = fitted(f"runs={table(tmp_path)}", "n_bootstrap=0").document.to_json()
    check(document)
    assert document["laws"]["isoflop"]["a"]["value"] is not None
    assert document["laws"]["isoflop"]["a"]["ci90"] is None


def test_fit_of_one_row_is_refused(tmp_path, capsys):
    """One row is refused with a page."""
    path = write_csv(tmp_path / "one.csv", [{"params": 1e6, "tokens": 1e8, "loss": 3.0}])
    assert run(f"runs={path}", f"out={tmp_path / 'out'}", QUICK) == ExitStatus.NO_LAW
    document = json.loads((tmp_path / "out" / "fit.json").read_text())
    check(document)
    assert document["status"] == "refused"
    assert (tmp_path / "out" / "report.html").exists()
    assert "refused: 1 distinct (N, D) point," in capsys.readouterr().out


def test_fit_of_two_budgets_keeps_the_surface(tmp_path):
    """Two budgets leave the surface standing."""
    document = fitted(f"runs={table(tmp_path, budgets=2)}", QUICK).document.to_json()
    check(document)
    assert document["laws"]["isoflop"]["status"] == "refused"
    assert document["laws"]["parametric"]["status"] in ("ok", "flagged")
    assert document["status"] == "flagged"


@pytest.mark.parametrize(
    ("overrides", "status"),
    [
        ([], "flagged"),
        (["laws=[parametric]"], "ok"),
        (["laws=[isoflop]"], "refused"),
        (["laws=[isoflop,parametric]"], "refused"),
        (["require=[isoflop]"], "refused"),
        (["require=[parametric]"], "flagged"),
        (["require=[]"], "flagged"),
        (["laws=[isoflop]", "require=[]"], "refused"),
    ],
)
def test_fit_require_names_what_must_stand(tmp_path, overrides, status):
    """What must stand."""
    path = table(tmp_path, budgets=2, sigma=0.0005)
    found = fitted(f"runs={path}", QUICK, *overrides)
    if status == "ok":
        assert found.document.status != "refused"
    else:
        assert found.document.status == status
    assert found.stands == (status != "refused" or "require=[]" in overrides)


@pytest.mark.parametrize(("budgets", "stands"), [(5, True), (1, False)])
def test_fit_of_named_laws_needs_no_headline(tmp_path, budgets, stands):
    """laws= names what must stand; the default of require asks of the headline laws, if asked."""
    path = table(tmp_path, budgets=budgets, sigma=0.0005)
    names = "kaplan" if stands else "kaplan,learning_curve"
    found = fitted(f"runs={path}", QUICK, f"laws=[{names}]")
    assert set(found.document.laws) == set(names.split(","))
    assert found.stands == stands
    assert (found.document.status == "refused") != stands


def test_fit_refuses_without_a_usable_run(tmp_path):
    """A table without a usable run is refused with the reasons."""
    path = tmp_path / "t.csv"
    path.write_text("run_id,params,tokens,loss,status\na,1e6,1e8,3,killed\nb,2e6,1e8,2,crashed\n")
    with pytest.raises(BadInput, match="none of 2 can be used: .*crashed.*killed"):
        fitted(f"runs={path}", QUICK)


def test_fit_refuses_one_input_twice(tmp_path):
    """One input twice is refused."""
    path = table(tmp_path)
    with pytest.raises(BadInput, match="twice"):
        fitted(f"runs=[{path},{path}]", QUICK)


def test_entry_imports_no_torch(tmp_path):
    """The entry imports no torch and prints where the report is."""
    code = (
        "import sys, fit; from configs.cli import run_entry; "
        f"status = run_entry(fit.main, 'fit', '', ['runs={table(tmp_path)}', "
        f"'out={tmp_path / 'out'}', 'n_bootstrap=60']); "
        "assert not {'torch', 'wandb'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert f"report: {tmp_path / 'out' / 'report.html'}" in done.stdout
