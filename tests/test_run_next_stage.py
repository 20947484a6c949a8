"""A staged sweep with real trials: it goes through its stages by itself, whoever is killed between.

Sweepers are forked from the test process, which has torch already, and killed without warning."""

import csv
import random
import time
from dataclasses import replace

import pytest

from common.errors import BadInput, ExitStatus
from common.files import write_atomic
from configs.cli import Arguments
from configs.load import CONFIG_DIR
from scaling.fit.table.sweep_directory import write_runs_csv
from scaling.plan.grid import plan_grid
from scaling.plan.stages import plan_stages
from scaling.run import next_stage, store, sweep, trial_states
from scaling.run.command import read_request
from scaling.run.store import StoredPlan
from scaling.run.workers.devices import this_machine
from tests.support.kill_harness import fork
from tests.support.plan_examples import QUICKSTART, STAGED, valley
from tests.support.tiny_sweep import LAUNCHER, alive, child_pids, eventually, request
from training.dataset import prepared_data
from training.trial.attempt import Watch, claim
from training.trial.record import blank_record, publish

STAGES = (
    "+grid.scout={budgets: null, sizes: 3, span: 3}",
    "+grid.tuning={lr_factors: [0.5, 1, 2], batch_factors: [1], cells: 1, cost: 9}",
)


def place(folder, out, *more):
    """A request and its first plan, placed without measuring the machine."""
    asked = request(folder, out, *STAGES, *more)
    data = prepared_data(asked.base)
    plan = plan_stages(asked.base, asked.grid, data.tokens_per_epoch)[0]
    return asked, store.store_plan(out, StoredPlan(plan, data.digest, asked.launcher), False)


def work(asked, wait=True):
    machine = this_machine(asked.base.runtime, asked.launcher)
    return sweep.work(asked, store.read_plan(asked.command.folder), machine, wait=wait)


def ends(out, states):
    """The last plan, and the weights that its trials ended in."""
    return store.read_plan(out).plan, {s.trial.id: s.record.weights_digest for s in states}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    asked, stored = place(folder, folder / "out")
    assert stored.plan.stage == "scout"
    states = work(asked, wait=False)
    return folder, asked, states, ends(folder / "out", states)


def _ended(out, stored, loss):
    """Records for all trials of a stored plan, and its states."""
    blank = blank_record(stored.plan.base, 1, "done", None)
    for state in trial_states.read_states(out, stored.plan):
        if state.record is None:
            folder = trial_states.trial_folder(out, state.trial)
            record = replace(blank, id=state.trial.id, loss=loss(state.trial.config))
            publish(claim(folder, Watch()), record)
    return trial_states.read_states(out, stored.plan)


def test_worker_goes_from_stage_to_stage(undisturbed):
    """A worker goes from stage to stage by itself."""
    folder, _, states, (plan, _) = undisturbed
    assert plan.stage == "grid" and len(plan.learned.notes) == 3
    assert {trial.part for trial in plan.trials} == {"scout", "tuning", "grid"}
    assert [state.trial for state in states] == list(plan.trials)
    assert sweep.outcome(states) == ExitStatus.DONE
    write_runs_csv(folder / "out")
    with (folder / "out" / "runs.csv").open() as file:
        arms = {row["run_id"]: row["arm"] for row in csv.DictReader(file)}
    assert arms == {trial.id: trial.part for trial in plan.trials}


def test_stages_killed_and_shared_end_in_same_bits(undisturbed, tmp_path):
    """Killed in any stage and shared by two it ends in the same bits."""
    folder, _, _, expected = undisturbed
    asked, _ = place(folder, tmp_path)
    times = random.Random(1)
    for _ in range(3):
        sweeper = fork(lambda: work(asked), tmp_path / "sweeper.log")
        time.sleep(times.uniform(0.5, 2.5))
        children = child_pids(sweeper.pid)
        sweeper.kill()
        sweeper.wait()
        eventually(lambda children=children: not any(map(alive, children)), 5)
    workers = [fork(lambda: work(asked, wait=False), tmp_path / f"{n}.log") for n in range(2)]
    assert [worker.wait(300) for worker in workers] == [0, 0]
    states = trial_states.read_states(tmp_path, store.read_plan(tmp_path).plan)
    assert ends(tmp_path, states) == expected


def test_plan_sweep_knows_its_request_at_any_stage(undisturbed, capsys):
    """The same request is the same sweep at whatever stage."""
    folder, asked, _, _ = undisturbed
    before = (folder / "out" / "plan.json").read_bytes()
    machine = this_machine(asked.base.runtime, asked.launcher)
    assert sweep.plan_sweep(asked, machine).plan.stage == "grid"
    assert (folder / "out" / "plan.json").read_bytes() == before
    more = request(folder, folder / "out", *STAGES, "extend=true")
    sweep.plan_sweep(more, machine)
    assert "extend: " in capsys.readouterr().out
    bare = read_request(Arguments("sweep", (f"out={folder / 'out'}", "extend=true"), CONFIG_DIR))
    sweep.plan_sweep(bare, machine)
    assert "extend: " in capsys.readouterr().out


def test_plan_sweep_keeps_stage_results_for_another_grid(undisturbed, tmp_path):
    """Its rates are those of the tuning that is there, so trials that stay are the same."""
    folder, _, _, (plan, _) = undisturbed
    write_atomic(tmp_path / "plan.json", (folder / "out" / "plan.json").read_bytes())
    more = request(folder, tmp_path, *STAGES, "extend=true", "grid.budgets=[1e8,2e8,3e8]")
    machine = this_machine(more.base.runtime, more.launcher)
    wider = sweep.plan_sweep(more, machine)
    assert {trial.id for trial in plan.trials} < {trial.id for trial in wider.plan.trials}
    assert wider.plan.learned == plan.learned and wider.stale == ()


def test_plan_sweep_without_tuning_is_same_sweep(undisturbed):
    """A tuned grid asked for without tuning is the same sweep."""
    folder, *_, (plan, _) = undisturbed
    bare = request(folder, folder / "out")
    assert bare.grid != plan.grid
    stored = sweep.plan_sweep(bare, this_machine(bare.base.runtime, bare.launcher))
    assert stored.plan == plan


def test_plan_sweep_refuses_another_grid_within_stage(undisturbed, tmp_path):
    """Another grid waits for the stage to end."""
    folder, *_ = undisturbed
    place(folder, tmp_path)
    more = request(folder, tmp_path, *STAGES, "extend=true", "grid.budgets=[1e8]")
    with pytest.raises(BadInput, match="the scout stage of this one has not ended"):
        sweep.plan_sweep(more, this_machine(more.base.runtime, more.launcher))


def test_extend_open_curves_adds_sizes_in_place(tmp_path, capsys):
    """An open IsoFLOP curve is extended in place and only there."""
    base, grid = QUICKSTART
    plan = plan_grid(base, replace(grid, seeds_at_centre=1, seeds_at_lowest_budget=1), None)
    stored = StoredPlan(plan, "0" * 16, LAUNCHER)
    store.store_plan(tmp_path, stored, False)
    blank = blank_record(base, 1, "done", None)

    def train(trials):
        for trial in trials:
            folder = trial_states.trial_folder(tmp_path, trial)
            off = 400.0 if trial.flops_budget == 8e11 else 20.0
            record = replace(blank, id=trial.id, loss=valley(trial.config, off, 0.45))
            publish(claim(folder, Watch()), record)

    train(plan.trials)
    wider = next_stage.extend_open_curves(tmp_path, stored)
    added = [trial for trial in wider.plan.trials if trial not in plan.trials]
    assert sorted(trial.config.model.n_embd for trial in added) == [12, 16]
    assert "adding 2x16, 2x12" in capsys.readouterr().out
    assert store.read_plan(tmp_path) == wider
    train(added)
    assert next_stage.extend_open_curves(tmp_path, wider) == wider
    assert "nothing to add" in capsys.readouterr().out


def test_outcome_accepts_divergence_in_study(undisturbed):
    """A rate that diverges in its study is no failure."""
    _, _, states, _ = undisturbed
    tuning = next(state for state in states if state.trial.part == "tuning")
    grid = next(state for state in states if state.trial.part == "grid")
    assert sweep.outcome([replace(tuning, state="diverged")]) == ExitStatus.DONE
    assert sweep.outcome([replace(tuning, state="failed")]) == ExitStatus.NO_RESULT
    assert sweep.outcome([replace(grid, state="diverged")]) == ExitStatus.NO_RESULT


def test_next_stage_after_grid_leaves_nothing_stale(tmp_path):
    """A scout after the grid sees what the grid ran and nothing stays stale."""
    base, grid = QUICKSTART
    grid = replace(grid, seeds_at_centre=1, seeds_at_lowest_budget=1)
    stored = StoredPlan(plan_grid(base, grid, None), "0" * 16, LAUNCHER)
    store.store_plan(tmp_path, stored, False)
    _ended(tmp_path, stored, lambda _: 3.0)
    scouted = replace(grid, scout=STAGED.scout)
    asked = replace(stored, plan=plan_stages(base, scouted, None)[0])
    both = store.store_plan(tmp_path, asked, extend=True)
    assert both.stale
    # No optimum anywhere: the centre stays, and the grid asks for what it has.
    following = next_stage.next_stage(tmp_path, both, _ended(tmp_path, both, lambda _: 3.0))
    while following.plan.stage == "scout":
        following = next_stage.next_stage(
            tmp_path, following, _ended(tmp_path, following, lambda _: 3.0)
        )
    assert following.stale == ()


def test_extend_open_curves_names_curve_of_too_few_sizes(tmp_path, capsys):
    """An IsoFLOP curve of too few sizes is not called bracketed."""
    base, grid = QUICKSTART
    stored = StoredPlan(plan_grid(base, replace(grid, sizes=2), None), "0" * 16, LAUNCHER)
    store.store_plan(tmp_path, stored, False)
    _ended(tmp_path, stored, valley)
    assert next_stage.extend_open_curves(tmp_path, stored) == stored
    said = capsys.readouterr().out
    assert "2 sizes, expected at least 3" in said and "is bracketed" not in said
