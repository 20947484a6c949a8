"""A trunk and its branches: bit for bit the runs that each would have been alone."""

import random
import time
from dataclasses import replace

import pytest
import torch

import training.trial.attempt
from model.flops import flops_per_token_exact
from scaling.plan.plan import Plan, Trial
from scaling.plan.trunks import branches_of
from scaling.run import cleanup, trial_states
from scaling.run.workers.run_trial import run_task
from scaling.run.workers.trunks import Trunks
from tests.support.kill_harness import fork
from tests.support.tiny_sweep import loaded, pretended_plan, work
from tests.support.tiny_training import prepared_config, train_once
from training.config import ScheduleConfig
from training.trial.attempt import Watch, attempts, claim
from training.trial.identity import setting_digest, trial_id
from training.trial.metrics import read_metrics
from training.trial.record import blank_record, publish, read_record

HORIZONS = 8, 12, 20  # steps; the cool-downs begin after 6, 9 and 15


def constant(steps: int) -> ScheduleConfig:
    return ScheduleConfig("constant_sqrt", 128 * steps, 128, 256, 0.0, None, 0.25)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Two seeds to three horizons."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trunks")
    base = prepared_config(folder, schedule=constant(20), runtime__checkpoint_every_s=1e6)
    base = loaded(base)
    configs = [
        replace(base, seed=seed, schedule=constant(steps)) for seed in (0, 1) for steps in HORIZONS
    ]
    grid = replace(pretended_plan(folder, [0]).grid, trunk=True)
    trials = tuple(Trial(trial_id(config), 1e9, config, None) for config in configs)
    trials = tuple(sorted(trials, key=lambda trial: -trial.config.schedule.steps))
    return Plan(setting_digest(base), base, grid, trials, ())


@pytest.fixture(scope="module")
def alone(plan, tmp_path_factory):
    """The digest of each trial's weights if it is trained by itself, by id."""
    out = tmp_path_factory.mktemp("alone")
    return {t.id: train_once(t.config, out / t.id).weights_digest for t in plan.trials}


def train(out, plan, slots=2):
    return work(out, plan, run_task, slots, trunks=Trunks(out, plan.trials))


def records(out, plan):
    return {t.id: read_record(trial_states.trial_folder(out, t)) for t in plan.trials}


def digests(out, plan):
    return {name: record.weights_digest for name, record in records(out, plan).items()}


def test_branches_end_with_weights_of_independent_runs(tmp_path, plan, alone):
    """Final weights are bit for bit those of runs alone, at the trunk's FLOP and not at all."""
    train(tmp_path, plan)
    assert digests(tmp_path, plan) == alone
    found = branches_of((trial.id, trial.config) for trial in plan.trials)
    assert sorted(branch.step for branch in found.values()) == [6, 6, 9, 9]
    for trial in plan.trials:
        record, branch = records(tmp_path, plan)[trial.id], found.get(trial.id)
        step = branch.step if branch else 0
        flops = flops_per_token_exact(trial.config.model) * 128
        assert record.flops_exact == flops * trial.config.schedule.steps and record.bitwise
        assert record.flops_spent == (flops * (record.steps - step) if branch else None)
        folder = trial_states.trial_folder(tmp_path, trial)
        rows = [row["step"] for row in read_metrics(folder)]
        assert rows == list(range(1, trial.config.schedule.steps + 1))
        assert not list(folder.glob("attempt-*/checkpoints/*")), "nothing is left behind"


def test_branches_and_trunk_by_two_workers(tmp_path, plan, alone):
    """Two workers, none of which knows of the other, share trunks and branches."""
    workers = [
        fork(lambda: train(tmp_path, plan, 1), tmp_path / f"log{number}") for number in (0, 1)
    ]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert digests(tmp_path, plan) == alone


def kill_and_compare(folder, plan, alone, kills, seed):
    """Workers killed at any moment, until so many were; then nothing differs."""
    times, killed, sweeps = random.Random(seed), 0, 0
    saving = replace(plan.base.runtime, checkpoint_every_s=0.05)
    plan = replace(plan, base=replace(plan.base, runtime=saving))
    training.trial.attempt.OWNERLESS_S = 0.05
    began = time.monotonic()
    train(folder / "timed", plan)
    whole_s = time.monotonic() - began
    while killed < kills:
        out = folder / f"sweep{sweeps}"
        out.mkdir()
        sweeps += 1
        while None in records(out, plan).values():
            child = fork(lambda out=out: train(out, plan), out / "log")
            if killed < kills:
                time.sleep(times.uniform(0, whole_s))
                child.kill()
            killed += child.wait() == -9
        assert digests(out, plan) == alone
        # As the next sweep begins: a kill may fall between a record and what it removes.
        cleanup.clean_sweep(out, trial_states.read_states(out, plan), Watch())
        Trunks(out, plan.trials).clean()
        assert not list(out.glob("trials/*/attempt-*/checkpoints/step-*"))


@pytest.fixture
def quick_claims(monkeypatch):
    monkeypatch.setattr(training.trial.attempt, "OWNERLESS_S", training.trial.attempt.OWNERLESS_S)


def test_kills_of_trunk_and_branches_change_nothing(tmp_path, plan, alone, quick_claims):
    kill_and_compare(tmp_path, plan, alone, 2, 0)


@pytest.mark.slow
def test_forty_kills_of_trunk_and_branches_change_nothing(tmp_path, plan, alone, quick_claims):
    kill_and_compare(tmp_path, plan, alone, 40, 1)


def test_branches_of_trunk_that_failed_begin_at_step_0(tmp_path, plan, alone):
    """A trunk that ends without a checkpoint costs its branches time, and nothing else."""
    trunks = [trial for trial in plan.trials if trial.config.schedule.steps == 20]
    for trial in trunks:
        folder = trial_states.trial_folder(tmp_path, trial)
        attempt = claim(folder, Watch())
        publish(attempt, blank_record(trial.config, 1, "failed", "its disk burnt"))
    train(tmp_path, plan)
    for trial in set(plan.trials) - set(trunks):
        record = records(tmp_path, plan)[trial.id]
        assert (record.weights_digest, record.flops_spent) == (alone[trial.id], None)


def test_branch_begins_at_step_0_where_checkpoint_does_not_serve(tmp_path, plan, alone):
    """One of another seed, and one that is damaged, are not begun with."""
    trunk, other = plan.trials[:2]
    short = next(t for t in plan.trials if t.config.schedule.steps == 8)
    kept = replace(other.config, runtime=replace(other.config.runtime, keep_steps=(6,)))
    train_once(kept, tmp_path / "other")
    (point,) = (tmp_path / "other").glob("attempt-*/checkpoints/step-00000006")
    assert trunk.config.seed != other.config.seed
    mine = short if short.config.seed == trunk.config.seed else plan.trials[-1]
    record = train_once(mine.config, tmp_path / "mine", start=point)
    assert record.weights_digest == alone[mine.id] and record.flops_spent is None
    reason = "begins at step 0 and not with its trunk: of another run: seed"
    assert reason in _log(tmp_path / "mine")
    (point / "state.pt").write_bytes(b"x")
    twin = next(
        t
        for t in plan.trials
        if t.config.seed == other.config.seed and t.config.schedule.steps == 8
    )
    record = train_once(twin.config, tmp_path / "twin", start=point)
    assert record.weights_digest == alone[twin.id] and record.flops_spent is None


def test_trunks_let_branch_wait_for_checkpoint(tmp_path, plan):
    """A branch is not ready before its trunk has come to where it begins."""
    trunks = Trunks(tmp_path, plan.trials)
    trunk, branch = plan.trials[0], plan.trials[-1]
    assert trunks.is_ready(trunk) and not trunks.is_ready(branch, at_once=True)
    assert trunks.start(branch) is None and trunks.start(trunk) is None
    kept = trunks.kept(trunk, trunk.config.runtime)
    assert kept.keep_steps == (6, 9) and trunks.kept(branch, kept) == kept
    assert Trunks(tmp_path, ()).is_ready(branch)


def _log(trial):
    return "".join((attempt / "log.txt").read_text() for attempt in attempts(trial))
