"""Sweep directories of our own: every trial accounted for, and fitted by every convention."""

import dataclasses
import json

import numpy as np
import pytest
from fit_examples import isoflop_rows
from fit_runs import QUICK, SURFACE, check, fitted

from configs.errors import BadInput
from configs.files import to_json
from scaling.fit.observations import _OUTCOME_NAMES
from scaling.fit.sweeps import read_sweep, write_runs_csv
from training.record import RunRecord


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


def test_a_sweep_directory_is_fitted_by_every_convention(tmp_path):
    found = fitted(f"runs={sweep(tmp_path / 's')}", QUICK)
    check(found.document)
    assert found.document["convention"] == {"params": "effective", "flops": "exact"}
    ways = {(c["params"], c["flops"], c["law"]) for c in found.document["conventions"]}
    assert {(p, "exact", "isoflop") for p in ("effective", "total", "matmul")} <= ways
    assert {("total", "6nd", "parametric"), ("effective", "6nd", "parametric")} <= ways
    assert ("total", "exact", "parametric") not in ways
    row = found.document["predictions"][0]
    assert row["n_total"]["value"] == pytest.approx(1.2 * row["n_opt"]["value"])
    assert [point["step"] for point in found.curves["000000000000"]] == [1, 2]


def test_every_planned_trial_is_accounted_for(tmp_path):
    states = ["done"] * 12 + ["diverged", "oom", "waiting"]
    document = fitted(f"runs={sweep(tmp_path / 's', states)}", QUICK).document
    check(document)
    assert document["inputs"]["planned"] == 15
    assert [e["reason"] for e in document["inputs"]["excluded"]] == [
        "status diverged: loss not finite",
        "status oom: loss not finite",
        "status unfinished",
    ]
    assert "excluded_runs" in {warning["code"] for warning in document["warnings"]}


def test_a_lost_edge_run_of_a_sweep_flags_its_valley(tmp_path):
    states = ["done"] * 14 + ["oom"]
    document = fitted(f"runs={sweep(tmp_path / 's', states)}", QUICK).document
    flags = {flag["code"] for flag in document["laws"]["isoflop"]["flags"]}
    assert "edge_valley" in flags
    assert document["laws"]["isoflop"]["valleys"][-1]["flags"][0]["code"] == "edge_lost"


def test_stale_trials_are_fitted_and_listed(tmp_path):
    document = fitted(f"runs={sweep(tmp_path / 's', stale=1)}", QUICK).document
    assert document["inputs"]["used"] == 15
    assert "stale_runs" in {warning["code"] for warning in document["warnings"]}
    document = fitted(f"runs={tmp_path / 's'}", QUICK, "where.stale=0").document
    assert document["inputs"]["used"] == 14


def test_a_loss_that_jumped_is_said_with_step_and_height(tmp_path):
    folder = sweep(tmp_path / "s")
    paths = sorted(folder.glob("trials/*/record.json"))
    for path, step, height in ((paths[1], 40, 0.75), (paths[3], 60, 2.25)):
        values = json.loads(path.read_text()) | {"spike_step": step, "spike_nats": height}
        path.write_text(json.dumps(values))
    document = fitted(f"runs={folder}", QUICK).document
    check(document)
    [text] = [w["text"] for w in document["warnings"] if w["code"] == "loss_spikes"]
    assert text == (
        "the loss of 2 runs jumped in training, highest by 2.25 nats at step 60 of "
        f"{paths[3].parent.name}"
    )


def test_two_sweeps_of_other_settings_are_refused(tmp_path):
    one, other = sweep(tmp_path / "a"), sweep(tmp_path / "b")
    plan = json.loads((other / "plan.json").read_text()) | {"setting": "xyz"}
    (other / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(BadInput, match=r"setting: .* has abc and .* has xyz"):
        fitted(f"runs=[{one},{other}]", QUICK)


def test_runs_csv_is_a_run_table_of_the_sweep(tmp_path):
    folder = sweep(tmp_path / "s", ["done"] * 13 + ["oom", "waiting"])
    path = write_runs_csv(folder)
    one, other = (fitted(f"runs={p}", QUICK).document for p in (folder, path))
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
    ],
)
def test_a_damaged_plan_is_refused(tmp_path, content, says):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(BadInput, match=says):
        read_sweep(tmp_path)


# What of a record says what the run was, or is read as its N, D, C and loss.
SETTING = """
    n_layer n_head n_embd vocab_size block_size init_std batch_tokens lr warmup_tokens precision
    dataset tokenizer data_digest eval_tokens tokens_planned tokens loss loss_bpb flops_6nd
    flops_exact params_total params_non_embedding params_matmul params_effective
"""


def test_a_field_of_a_record_that_is_no_setting_keeps_no_seeds_apart():
    """A new field is to be named here, or among the outcomes: else seeds are averaged no more."""
    fields = {field.name for field in dataclasses.fields(RunRecord)}
    assert fields - set(_OUTCOME_NAMES.split()) == set(SETTING.split())
