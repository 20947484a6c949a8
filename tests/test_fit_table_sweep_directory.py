"""Sweep directories of our own: every trial accounted for, and fitted by every convention."""

import dataclasses
import json

import numpy as np
import pytest

from common.errors import BadInput
from common.files import to_json, with_digest
from scaling.fit.table.seeds import OUTCOMES
from scaling.fit.table.sweep_directory import read_sweep, write_runs_csv
from tests.support.fit_examples import isoflop_rows
from tests.support.fit_runs import QUICK, SURFACE, check, fitted
from training.trial.record import RunRecord

# What is read is of interest here, and not what each law makes of it.
ONE_LAW = (QUICK, "laws=[envelope]")


def sweep(folder, states=("done",) * 15, stale=0):
    """A sweep directory of three budgets of five sizes, with the states given in order."""
    records = isoflop_rows(SURFACE, (1e17, 1e18, 1e19), np.geomspace(1 / 3, 3, 5), 0.002)
    trials = []
    for index, (row, state) in enumerate(zip(records, states, strict=True)):
        name = f"{index:012x}"
        trials.append({"id": name, "flops_budget": row["flops_budget"], "predicted_s": 1.0})
        trial = folder / "trials" / name
        (trial / "attempt-001").mkdir(parents=True)
        rows = [{"step": s, "tokens": s, "loss": 5.0 - s, "flops": s} for s in (1, 2)]
        metrics = trial / "attempt-001" / "metrics.jsonl"
        metrics.write_text("".join(json.dumps(r) + "\n" for r in rows))
        if state == "waiting":
            continue
        done = state == "done"
        record = {
            "schema": 1,
            "id": name,
            "status": state,
            "reason": None if done else "loss not finite",
            "loss": row["loss"] if done else None,
            "params_effective": row["params"],
            "params_total": 1.2 * row["params"],
            "params_non_embedding": 0.8 * row["params"],
            "params_matmul": 0.9 * row["params"],
            "flops_exact": row["flops"],
            "flops_6nd": 6 * 1.2 * row["params"] * row["tokens"],
            "tokens": row["tokens"],
            "dataset": "files",
            "vocab_size": 256,
            "seed": 0,
            "epochs": 0.5,
        }
        (trial / "record.json").write_text(json.dumps(record))
    plan = {"schema": 1, "setting": "abc", "trials": trials[: len(trials) - stale]}
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


def test_read_sweep_is_fitted_by_every_convention(tmp_path):
    """A sweep directory is fitted by every convention."""
    found = fitted(f"runs={sweep(tmp_path / 's')}", QUICK)
    check(found.document.to_json())
    assert found.document.to_json()["convention"] == {"params": "effective", "flops": "exact"}
    ways = {(c["params"], c["flops"], c["law"]) for c in found.document.to_json()["conventions"]}
    assert {(p, "exact", "isoflop") for p in ("effective", "total", "matmul")} <= ways
    assert {("total", "6nd", "parametric"), ("effective", "6nd", "parametric")} <= ways
    assert ("total", "exact", "parametric") not in ways
    row = found.document.to_json()["predictions"][0]
    assert row["n_total"]["value"] == pytest.approx(1.2 * row["n_opt"]["value"])
    assert [point["step"] for point in found.curves["000000000000"]] == [1, 2]


def test_read_sweep_accounts_for_every_planned_trial(tmp_path):
    """Every planned trial is accounted for."""
    states = ["done"] * 12 + ["diverged", "oom", "waiting"]
    document = fitted(f"runs={sweep(tmp_path / 's', states)}", *ONE_LAW).document.to_json()
    check(document)
    assert document["inputs"]["planned"] == 15
    assert [e["reason"] for e in document["inputs"]["excluded"]] == [
        "status diverged: loss not finite",
        "status oom: loss not finite",
        "status unfinished",
    ]
    assert "excluded_runs" in {warning["code"] for warning in document["warnings"]}


def test_read_sweep_flags_the_isoflop_curve_that_lost_its_edge(tmp_path):
    """A lost edge run of a sweep flags its IsoFLOP curve."""
    states = ["done"] * 14 + ["oom"]
    document = fitted(f"runs={sweep(tmp_path / 's', states)}", QUICK).document.to_json()
    flags = {flag["code"] for flag in document["laws"]["isoflop"]["flags"]}
    assert "edge_valley" in flags
    assert document["laws"]["isoflop"]["valleys"][-1]["flags"][0]["code"] == "edge_lost"


def test_read_sweep_marks_stale_trials_which_are_fitted_and_listed(tmp_path):
    """Stale trials are fitted and listed."""
    document = fitted(f"runs={sweep(tmp_path / 's', stale=1)}", *ONE_LAW).document.to_json()
    assert document["inputs"]["used"] == 15
    assert "stale_runs" in {warning["code"] for warning in document["warnings"]}
    document = fitted(f"runs={tmp_path / 's'}", *ONE_LAW, "where.stale=0").document.to_json()
    assert document["inputs"]["used"] == 14


def test_read_sweep_tells_step_and_height_of_a_loss_that_jumped(tmp_path):
    """A loss that jumped is said with step and height."""
    folder = sweep(tmp_path / "s")
    paths = sorted(folder.glob("trials/*/record.json"))
    for path, step, height in ((paths[1], 40, 0.75), (paths[3], 60, 2.25)):
        values = json.loads(path.read_text()) | {"spike_step": step, "spike_nats": height}
        path.write_text(json.dumps(values))
    document = fitted(f"runs={folder}", *ONE_LAW).document.to_json()
    check(document)
    [text] = [w["text"] for w in document["warnings"] if w["code"] == "loss_spikes"]
    assert text == (
        "the loss of 2 runs jumped in training, highest by 2.25 nats at step 60 of "
        f"{paths[3].parent.name}"
    )


def sealed(folder):
    """The same sweep with the digests that a run of this version leaves."""
    for path in [folder / "plan.json", *folder.glob("trials/*/record.json")]:
        path.write_text(to_json(with_digest(json.loads(path.read_text()))))
    for path in folder.glob("trials/*/attempt-*/metrics.jsonl"):
        rows = [with_digest(json.loads(line)) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def warned(folder, *words):
    """The document of one law, the warnings with it, by code."""
    words = words or ("laws=[isoflop]", "require=[]")
    document = fitted(f"runs={folder}", *ONE_LAW, *words).document.to_json()
    check(document)
    texts = {w["code"]: w["text"] for w in document["warnings"]}
    return document, texts


def test_read_sweep_says_what_carries_no_digest(tmp_path):
    """By hand, or of an earlier version: said, and fitted as before."""
    before, texts = warned(sweep(tmp_path / "s"))
    assert "30 rows of metrics.jsonl without a digest" in texts["no_digest"]
    after, texts = warned(sealed(tmp_path / "s"))
    assert "no_digest" not in texts and "damaged_files" not in texts
    assert to_json(before["laws"]) == to_json(after["laws"])


def test_read_sweep_leaves_out_a_damaged_record_by_name(tmp_path):
    """A changed loss is no point of a fit; the trial is as one that has not ended."""
    folder = sealed(sweep(tmp_path / "s"))
    path = sorted(folder.glob("trials/*/record.json"))[4]
    loss = json.loads(path.read_text())["loss"]
    path.write_text(path.read_text().replace(f'"loss": {loss}', '"loss": 1.5'))
    document, texts = warned(folder)
    [excluded] = document["inputs"]["excluded"]
    assert excluded["run_id"] == path.parent.name and document["inputs"]["planned"] == 15
    assert f"status damaged: {path}: differs from its own digest" in excluded["reason"]
    assert texts["damaged_files"].startswith(f"1 record left out: {path}")
    path.unlink()
    without = warned(folder)[0]
    assert to_json(without["laws"]) == to_json(document["laws"])


@pytest.mark.parametrize("content", [b"", b"<b>", b"\xff", b"[]", b"{}", b'{"status": 5}', None])
def test_read_sweep_leaves_out_what_is_no_record(tmp_path, content):
    """Whatever stands in the place of a record, a folder (None) included."""
    folder = sealed(sweep(tmp_path / "s"))
    path = sorted(folder.glob("trials/*/record.json"))[4]
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    document, texts = warned(folder)
    assert [lost["run_id"] for lost in document["inputs"]["excluded"]] == [path.parent.name]
    assert "damaged_files" in texts and write_runs_csv(folder).exists()


@pytest.mark.parametrize(
    "line", ["<b>", '""', "--5", "[1]", '{"step": 1' + "0" * 29 + ', "loss": 1}', '{"step": 1}']
)
def test_read_sweep_counts_damaged_rows_of_metrics(tmp_path, line):
    """Lines that no run wrote are left out of the curves and counted."""
    folder = sealed(sweep(tmp_path / "s"))
    before = warned(folder, "laws=[envelope]", "require=[]")[0]
    paths = sorted(folder.glob("trials/*/attempt-001/metrics.jsonl"))
    for path in paths[:3]:
        path.write_text(path.read_text() + line + "\n")
    document, texts = warned(folder, "laws=[envelope]", "require=[]")
    assert "3 damaged lines of metrics.jsonl" in texts["damaged_files"]
    assert to_json(document["laws"]) == to_json(before["laws"])
    paths[3].unlink()
    paths[3].mkdir()
    assert "4 damaged lines" in warned(folder, "laws=[envelope]", "require=[]")[1]["damaged_files"]


def test_read_sweep_refuses_a_plan_that_differs_from_its_digest(tmp_path):
    """An edited plan is refused."""
    folder = sealed(sweep(tmp_path / "s"))
    plan = json.loads((folder / "plan.json").read_text()) | {"setting": "xyz"}
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(BadInput, match=r"plan.json: differs from its own digest"):
        read_sweep(folder)


def test_read_sources_refuses_two_sweeps_of_other_settings(tmp_path):
    """Two sweeps of other settings are refused."""
    one, other = sweep(tmp_path / "a"), sweep(tmp_path / "b")
    plan = json.loads((other / "plan.json").read_text()) | {"setting": "xyz"}
    (other / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(BadInput, match=r"setting: .* has abc and .* has xyz"):
        fitted(f"runs=[{one},{other}]", *ONE_LAW)


def test_write_runs_csv_writes_a_run_table_of_the_sweep(tmp_path):
    """Runs csv is a run table of the sweep."""
    folder = sweep(tmp_path / "s", ["done"] * 13 + ["oom", "waiting"])
    path = write_runs_csv(folder)
    one, other = (fitted(f"runs={p}", QUICK).document.to_json() for p in (folder, path))
    for law in ("isoflop", "parametric"):  # a run table has no curves, so no envelope
        assert to_json(one["laws"][law]) == to_json(other["laws"][law])
    assert one["inputs"] == other["inputs"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not strict JSON"),
        ("[]", "no list of trials"),
        ('{"trials": [{}]}', "a trial without an id"),
        ('{"trials": []}', "no trials"),
        ('{"schema": 9, "trials": []}', "schema 9, expected at most 1"),
        ('{"schema": "1", "trials": []}', "schema 1, expected at most 1"),
        ('{"stale": 5, "trials": [{"id": "a"}]}', "stale: found 5"),
        ('{"stale": [[]], "trials": [{"id": "a"}]}', "stale: found"),
        ('{"trials": [{"id": ["a"]}]}', "a trial without an id"),
        ('{"trials": [{"id": "a", "config": {"model": 5}}]}', "model: found 5"),
    ],
)
def test_read_sweep_refuses_a_damaged_plan(tmp_path, content, says):
    """A damaged plan is refused."""
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(BadInput, match=says):
        read_sweep(tmp_path)


# What of a record says what the run was, or is read as its N, D, C and loss.
SETTING = """
    family n_kv_head n_inner tied_head parametrization base_width base_depth
    n_layer n_head n_embd vocab_size block_size init_std residual
    batch_tokens lr warmup_tokens cooldown_tokens
    precision dataset tokenizer data_digest eval_tokens tokens_planned tokens loss loss_bpb
    flops_6nd flops_exact params_total params_non_embedding params_matmul params_effective
"""


def test_outcomes_name_each_field_of_a_record_that_is_no_setting():
    """A new field is to be named here, or among the outcomes: else seeds are averaged no more."""
    fields = {field.name for field in dataclasses.fields(RunRecord)}
    assert fields - OUTCOMES == set(SETTING.split())


def test_records_of_an_earlier_version_are_averaged_with_new_ones(tmp_path):
    """A field that came later says of an earlier record what such runs then were."""
    folder = sweep(tmp_path / "s")
    plan = json.loads((folder / "plan.json").read_text())
    for trial in list(plan["trials"]):
        twin = f"f{trial['id'][1:]}"
        record = json.loads((folder / "trials" / trial["id"] / "record.json").read_text())
        record |= {"id": twin, "seed": 1, "family": "gpt2", "residual": "float32"}
        (folder / "trials" / twin).mkdir()
        (folder / "trials" / twin / "record.json").write_text(json.dumps(record))
        plan["trials"].append(trial | {"id": twin})
    (folder / "plan.json").write_text(json.dumps(plan))
    found = fitted(f"runs={folder}", *ONE_LAW).document.inputs
    assert (found.used, found.observations) == (30, 15)


def test_read_sweep_says_of_each_run_its_arm_and_part(tmp_path):
    """The baseline's rows come first, and a run that two arms ask for has a row in each."""
    folder = sweep(tmp_path / "s")
    plan = json.loads((folder / "plan.json").read_text())
    for index, trial in enumerate(plan["trials"]):
        trial["arms"] = {"muon": "grid"} if index % 2 else {"gpt2": "grid"}
    plan["trials"][3]["arms"] = {"muon": "grid", "gpt2": "tuning"}
    plan["grid"] = {"arms": {"gpt2": {}, "muon": {"optimizer.name": "muon"}}}
    (folder / "plan.json").write_text(json.dumps(plan))
    table = read_sweep(folder)
    assert table.values("arm") == ["gpt2"] * 9 + ["muon"] * 7
    shared = [n for n, name in enumerate(table.values("run_id")) if name == f"{3:012x}"]
    assert [table.values("part")[n] for n in shared] == ["tuning", "grid"]
    found = fitted(f"runs={folder}", *ONE_LAW, "where.arm=gpt2").document.to_json()["inputs"]
    assert (found["planned"], found["used"]) == (9, 8)
    lines = write_runs_csv(folder).read_text().splitlines()
    assert len(lines) == 1 + 16 and lines[0].endswith(",arm,part,cooldown_tokens")
