"""From files to fit.json: its shape, its sums, its exit statuses, and that order changes no bit."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fit_examples import config, write_csv
from fit_runs import QUICK, SURFACE, check, fitted, table

import fit as entry
from configs.errors import BadInput, ExitStatus
from configs.files import to_json
from configs.load import run_entry
from scaling.fit.apart import folder_name, parts
from scaling.fit.summary import summary

ROOT = Path(__file__).resolve().parent.parent


def run(*overrides, root="fit"):
    return run_entry(entry.main, root, "", list(overrides))


def test_fit_json_of_a_table(tmp_path):
    found = fitted(f"runs={table(tmp_path)}", QUICK, "predict.flops=[1e21]")
    check(found.document)
    assert found.document["status"] == "ok"
    assert found.document["convention"] == {"params": "given", "flops": "given"}
    assert len(found.document["laws"]["parametric"]["residuals"]) == len(found.observations) == 35
    far = [row for row in found.document["predictions"] if row["flops"] == 1e21]
    assert {row["law"] for row in far} == {"isoflop", "parametric"}
    for row in far:
        n, d = SURFACE.optimal_allocation(1e21)
        assert row["n_opt"]["value"] == pytest.approx(n, rel=0.3)
        assert row["n_opt"]["value"] * row["d_opt"]["value"] == pytest.approx(1e21 / 6, rel=0.02)
    held = found.document["holdout"]
    assert held["status"] == "ok"
    assert abs(held["loss_error"]) < 0.01
    assert abs(held["n_opt_error"]) < 0.2


def test_the_order_of_rows_changes_no_bit_of_the_laws(tmp_path):
    path = table(tmp_path)
    lines = path.read_text().splitlines()
    shuffled = lines[1:]
    random.Random(1).shuffle(shuffled)
    other = tmp_path / "other.csv"
    other.write_text("\n".join([lines[0], *shuffled]) + "\n")
    one, two = (fitted(f"runs={p}", QUICK).document for p in (path, other))
    for part in ("laws", "predictions", "holdout", "inputs", "warnings"):
        assert to_json(one[part]) == to_json(two[part])


def test_no_bootstrap_gives_numbers_without_intervals(tmp_path):
    document = fitted(f"runs={table(tmp_path)}", "n_bootstrap=0").document
    check(document)
    assert document["laws"]["isoflop"]["a"]["value"] is not None
    assert document["laws"]["isoflop"]["a"]["ci90"] is None


def test_one_row_is_refused_with_a_page(tmp_path, capsys):
    path = write_csv(tmp_path / "one.csv", [{"params": 1e6, "tokens": 1e8, "loss": 3.0}])
    assert run(f"runs={path}", f"out={tmp_path / 'out'}", QUICK) == ExitStatus.NO_LAW
    document = json.loads((tmp_path / "out" / "fit.json").read_text())
    check(document)
    assert document["status"] == "refused"
    assert (tmp_path / "out" / "report.html").exists()
    assert "refused: 1 distinct (N, D) point," in capsys.readouterr().out


def test_two_budgets_leave_the_surface_standing(tmp_path):
    document = fitted(f"runs={table(tmp_path, budgets=2)}", QUICK).document
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
def test_what_must_stand(tmp_path, overrides, status):
    path = table(tmp_path, budgets=2, sigma=0.0005)
    found = fitted(f"runs={path}", QUICK, *overrides)
    if status == "ok":
        assert found.document["status"] != "refused"
    else:
        assert found.document["status"] == status
    assert found.stands == (status != "refused" or "require=[]" in overrides)


@pytest.mark.parametrize(("budgets", "stands"), [(5, True), (1, False)])
def test_laws_that_ask_for_no_headline_law_need_none(tmp_path, budgets, stands):
    """laws= names what must stand; the default of require asks of the headline laws, if asked."""
    path = table(tmp_path, budgets=budgets, sigma=0.0005)
    names = "kaplan" if stands else "kaplan,learning_curve"
    found = fitted(f"runs={path}", QUICK, f"laws=[{names}]")
    assert set(found.document["laws"]) == set(names.split(","))
    assert found.stands == stands
    assert (found.document["status"] == "refused") != stands


def test_a_table_without_a_usable_run_is_refused_with_the_reasons(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("run_id,params,tokens,loss,status\na,1e6,1e8,3,finished\nb,2e6,1e8,2,crashed\n")
    with pytest.raises(BadInput, match="none of 2 can be used: .*crashed.*finished"):
        fitted(f"runs={path}", QUICK)


def test_one_input_twice_is_refused(tmp_path):
    path = table(tmp_path)
    with pytest.raises(BadInput, match="twice"):
        fitted(f"runs=[{path},{path}]", QUICK)


def test_by_fits_each_value_apart(tmp_path):
    one, other = table(tmp_path, "a.csv"), table(tmp_path, "b.csv", sigma=0.01)
    lines = [f"{line},x" for line in one.read_text().splitlines()[1:]]
    lines += [f"{line},../y" for line in other.read_text().splitlines()[1:]]
    header = one.read_text().splitlines()[0] + ",kind"
    path = tmp_path / "both.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    out = tmp_path / "out"
    assert run(f"runs={path}", "by=kind", f"out={out}", QUICK) == ExitStatus.DONE
    assert sorted(p.parent.name for p in out.glob("*/fit.json")) == ["%2E.%2Fy", "x"]
    document = json.loads((out / "x" / "fit.json").read_text())
    check(document)
    assert document["inputs"]["where"] == {"kind": "x"}


@pytest.mark.parametrize(
    ("require", "status"), [("[isoflop,parametric]", ExitStatus.NO_LAW), ("[]", ExitStatus.DONE)]
)
def test_a_value_without_a_usable_run_is_skipped_by_name(tmp_path, capsys, require, status):
    path, out = table(tmp_path, kind="good"), tmp_path / "out"
    text = path.read_text()
    header = text.splitlines()[0].split(",")
    cells = dict(zip(header, text.splitlines()[1].split(","), strict=True))
    lost = ",".join((cells | {"run_id": "lost", "kind": "bad"})[name] for name in header)
    lines = [f"{line},done" for line in text.splitlines()[1:]]
    path.write_text("\n".join([",".join([*header, "status"]), *lines, f"{lost},failed"]) + "\n")
    asked = [f"runs={path}", "by=kind", f"out={out}", QUICK, f"require={require}"]
    assert run(*asked) == status
    said = capsys.readouterr().out
    assert said.startswith("kind=good:\n35 runs = 35 used")
    assert "kind=bad is skipped: runs: none of 1 with kind=bad can be used: status failed" in said
    assert [p.parent.name for p in out.glob("*/fit.json")] == ["good"]


def test_values_of_which_none_has_a_usable_run_are_bad_input(tmp_path, capsys):
    path, out = table(tmp_path, kind="bad", status="failed"), tmp_path / "out"
    assert run(f"runs={path}", "by=kind", f"out={out}", QUICK) == ExitStatus.BAD_INPUT
    assert "by: no value of kind has a usable run" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("value", ["..", ".", "a/b", "-rf", "x" * 500, "ä\n\x00", "", "%2E"])
def test_folder_names_are_one_level_and_distinct(value):
    name = folder_name(value)
    assert name not in ("", ".", "..")
    assert "/" not in name and not name.startswith(("-", ".")) and len(name.encode()) <= 200
    assert name.isprintable()


def test_folders_without_out_follow_the_input(tmp_path):
    assert parts(config("runs=tables/a.csv"))[0][0] == Path("fits/a")
    assert parts(config(f"runs={tmp_path}"))[0][0] == tmp_path / "fit"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("runs=null", "runs: missing"),
        ("laws=[]", "laws: found an empty list"),
        ("laws=[isoflops]", "laws"),
        ("laws=[kaplan] require=[isoflop]", "require: found isoflop, but laws= asks for none"),
        ("delta=0", "delta: found 0"),
        ("n_bootstrap=-1", "n_bootstrap: found -1"),
        ("n_bootstraps=10", "unknown key; did you mean n_bootstrap?"),
        ("holdout=bottom", "holdout: found 'bottom' (str), expected one of top, none, or a number"),
        ("holdout=[1e20]", "holdout: found [1e+20] (list), expected one of top, none, or a number"),
        ("holdout=null", "holdout: found None (NoneType), expected one of top, none, or a number"),
        ("runs=[3]", "runs[0]: found 3 (int), expected text; quote it"),
        ("convention.params=total", "convention.params=total: no column params_total"),
        ("convention.flops=exact", "convention.flops=exact: no column flops_exact"),
        ("holdout=-1.0", "holdout: found -1"),
        ("predict.flops=[0]", "predict.flops: found 0"),
        ("by=nothing", "by: no column 'nothing'"),
    ],
)
def test_a_bad_option_is_status_2_and_writes_nothing(tmp_path, capsys, override, says):
    out = tmp_path / "out"
    status = run(f"runs={table(tmp_path)}", f"out={out}", *override.split())
    assert status == ExitStatus.BAD_INPUT
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not out.exists()


def test_out_that_cannot_be_made_is_status_2(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert run(f"runs={table(tmp_path)}", f"out={blocked}/x", QUICK) == ExitStatus.BAD_INPUT
    assert "out: " in capsys.readouterr().err


def test_holdout_at_a_flop_or_not_at_all(tmp_path):
    path = table(tmp_path)
    held = fitted(f"runs={path}", QUICK, "holdout=3e18").document["holdout"]
    assert held["status"] == "ok" and held["flops"] >= 3e18
    assert fitted(f"runs={path}", QUICK, "holdout=none").document["holdout"]["status"] == "none"
    none = fitted(f"runs={path}", QUICK, "holdout=1e30").document["holdout"]
    assert none["status"] == "refused"
    assert none["reason"] == "no run has 1e+30 FLOP, the highest 1e+19"
    whole = fitted(f"runs={path}", QUICK, "holdout=1e3").document
    assert whole["holdout"]["reason"] == "all runs are held out, so that none is left to fit"
    assert summary(whole).endswith(f"held out: refused, {whole['holdout']['reason']}")


def test_the_summary_names_laws_flags_and_reasons(tmp_path):
    text = summary(fitted(f"runs={table(tmp_path, budgets=2)}", QUICK).document)
    assert "35 runs" not in text and "14 runs = 14 used + 0 excluded" in text
    assert "refused: 2 budgets with a vertex, expected at least 3" in text
    assert "L = E + A N^-alpha + B D^-beta: E " in text


def test_the_entry_imports_no_torch_and_prints_where_the_report_is(tmp_path):
    code = (
        "import sys, fit; from configs.load import run_entry; "
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


def test_the_alternative_to_repeated_points_is_said(tmp_path):
    path = table(tmp_path)
    lines = path.read_text().splitlines()
    names = lines[0].split(",")
    again = []
    for line in lines[1:]:
        cells = dict(zip(names, line.split(","), strict=True))
        cells["run_id"] += "-again"
        cells["loss"] = str(float(cells["loss"]) + 0.01)
        again.append(",".join(cells[name] for name in names))
    path.write_text("\n".join(lines + again) + "\n")
    document = fitted(f"runs={path}", QUICK).document
    check(document)
    assert "repeated_points" in {flag["code"] for flag in document["laws"]["isoflop"]["flags"]}
    texts = [w["text"] for w in document["warnings"] if w["code"] == "repeated_points"]
    assert texts[0].startswith("with reduce=best, 35 points remain: isoflop would give a = 0.5")
    best = fitted(f"runs={path}", QUICK, "reduce=best").document
    check(best)
    assert best["inputs"]["used"] == 35 and len(best["inputs"]["excluded"]) == 35


def test_terminal_escapes_in_names_are_shown_as_text(tmp_path):
    path = table(tmp_path)
    path.write_text(path.read_text().replace("run-000", "\x1b[31mrun"))
    document = fitted(f"runs={path}", QUICK, "n_bootstrap=0", "exclude=['\x1b[31mrun']").document
    assert "\x1b" not in summary(document)
    assert "excluded \\x1b[31mrun: excluded by request" in summary(document)
