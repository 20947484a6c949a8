"""The cost of a sweep's stages, and the machines that it is counted for."""

from dataclasses import replace

import pytest

from common.errors import BadInput
from configs.cli import Arguments
from configs.load import CONFIG_DIR
from scaling.plan.plan import Plan
from scaling.plan.stages import plan_stages
from scaling.run.command import Request, read_request
from scaling.run.planning import all_of, completed, plan_for, total_cost
from scaling.run.store import StoredPlan
from scaling.run.target import target_of, with_workers_for
from scaling.run.trial_states import TrialState
from scaling.run.workers.devices import require_divisible, this_machine
from tests.support.plan_examples import experiment
from training.device.stated import stated_throughput


def asked(*words: str) -> Request:
    """A request for the plan of isoflop_m."""
    words = ("experiment=isoflop_m", "mode=plan", *words)
    return read_request(Arguments("sweep", words, CONFIG_DIR))


def test_total_cost_counts_trial_of_two_stages_once():
    """A trial of two stages is paid for once."""
    base, grid = experiment("isoflop_m")
    plans = plan_stages(base, grid, None, stated_throughput("H200", None, "bf16", 1, 1))
    assert len(plans) == 2 and len(all_of(plans).trials) < sum(len(p.trials) for p in plans)
    cost = total_cost(plans, 1)
    assert cost.wall_s == pytest.approx(cost.work_s)


SLURM = ("launcher=slurm", "launcher.device=h200")


@pytest.mark.parametrize(
    ("words", "parallel", "devices"),
    [
        (["launcher.device=H200"], 1, 1),
        (["launcher.device=H200", "launcher.devices=8", "launcher.devices_per_trial=4"], 2, 8),
        (["launcher.device=H200", "launcher.devices_per_trial=4"], 1, 4),
        (["launcher.device=H200", "launcher.devices=4", "launcher.trials_per_device=3"], 12, 4),
        (["launcher.device=H200", "launcher.devices=4", "launcher.trials_per_device=auto"], 4, 4),
        ([*SLURM], 1, 1),
        ([*SLURM, "launcher.slurm.workers=4", "launcher.slurm.gpus=8"], 32, 32),
        ([*SLURM, "launcher.slurm.workers=2", "launcher.slurm.gpus=h200:4"], 8, 8),
        (
            [*SLURM, "launcher.slurm.gpus=8", "launcher.slurm.workers=3", "launcher.devices=6"],
            18,
            24,
        ),
        (
            [*SLURM, "launcher.slurm.gpus=8", "launcher.slurm.workers=4"]
            + ["launcher.devices_per_trial=4"],
            8,
            32,
        ),
        (
            [*SLURM, "launcher.slurm.workers=2", "launcher.slurm.extra=['--gres=gpu:h200:8']"],
            16,
            16,
        ),
    ],
)
def test_target_counts_devices_of_every_worker(words, parallel, devices):
    """Trials at once, and devices that are paid for, are those of all workers."""
    target = target_of(asked(*words), None)
    assert (target.parallel, target.devices) == (parallel, devices)


def test_target_has_no_more_workers_than_trials():
    """As Slurm's array: workers without a trial are not submitted."""
    words = [*SLURM, "launcher.slurm.workers=100", "launcher.slurm.gpus=8"]
    target = target_of(asked(*words), None)
    fewer = with_workers_for(target, 100, 45)
    assert (target.devices, fewer.devices, fewer.parallel) == (800, 360, 360)
    assert with_workers_for(target, 100, 100) == target


def test_target_counts_nodes_of_torchrun(monkeypatch):
    """Under torchrun each node has a worker, on all of its ranks' devices."""
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    for words, parallel, devices in (([], 16, 16), (["launcher.devices_per_trial=4"], 4, 16)):
        target = target_of(asked("launcher.device=H200", *words), None)
        assert (target.parallel, target.devices) == (parallel, devices)


def test_target_measured_here_counts_every_worker():
    """What is measured on one node is paid for on all of them."""
    cpus = ("launcher=slurm", "launcher.slurm.workers=3", "launcher.slurm.cpus=16")
    request = asked("runtime.device=cpu", *cpus)
    machine = this_machine(request.base.runtime, request.launcher)
    target = target_of(request, machine)
    assert (target.parallel, target.devices) == (48, 48)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["launcher.slurm.gpus=8", "launcher.devices_per_trial=3"], "say launcher.devices=6"),
        (["launcher.slurm.gpus=4", "launcher.devices=8"], "at most launcher.slurm.gpus 4"),
        (["launcher.slurm.gpus=1", "launcher.devices_per_trial=2"], "launcher.slurm.gpus: found 1"),
    ],
)
def test_launcher_refuses_devices_that_no_worker_has(words, said):
    """What a worker would refuse on its node is refused by the plan."""
    with pytest.raises(BadInput, match=said):
        asked("launcher=slurm", *words)


RANKS = ("launcher.device=H200", "launcher.devices_per_trial=6", "launcher.devices=6")


def batches(plans: list[Plan]) -> set[int]:
    """Sequences of a step of every trial of every stage."""
    configs = [trial.config for plan in plans for trial in plan.trials]
    return {c.schedule.batch_tokens // c.model.block_size for c in configs}


def test_plan_rounds_batches_to_what_ranks_divide():
    """Six ranks have batches of six; one, two and eight leave the rule's, and so the trials."""
    one = completed(asked("launcher.device=H200"))
    plain = plan_for(one, None, target_of(one, None))
    request = completed(asked(*RANKS))
    six = plan_for(request, None, target_of(request, None))
    assert all(batch % 6 == 0 for batch in batches(six)) and len(six[1].trials) == 45
    tokens = [sorted(t.config.schedule.tokens for t in p[1].trials) for p in (plain, six)]
    assert tokens[0] == tokens[1]
    eight = completed(asked("launcher.device=H200", "launcher.devices_per_trial=8"))
    found = plan_for(eight, None, target_of(eight, None))
    assert [t.id for t in found[1].trials] == [t.id for t in plain[1].trials]


def test_request_keeps_the_batches_of_its_sweep():
    """The multiple that a sweep was planned with stays, on whatever machine it goes on."""
    request = completed(asked(*RANKS))
    plan = plan_stages(request.base, request.grid, None)[-1]
    known = StoredPlan(plan, "0" * 16, request.launcher)
    again = completed(asked("launcher.device=H200"), known)
    assert again.grid == plan.grid and again.grid.rules.batch_multiple == 6
    known = replace(known, plan=replace(plan, grid=asked().grid))
    assert completed(asked(*RANKS), known).grid.rules.batch_multiple is None


def test_ranks_that_cannot_divide_what_is_missing_are_refused():
    """A sweep that goes on with other ranks is refused before a trial starts; what is done is."""
    plan = plan_stages(asked().base, asked().grid, None)[-1]
    states = [TrialState(trial, "waiting", 0, None, None) for trial in plan.trials]
    with pytest.raises(BadInput, match=r"launcher.devices_per_trial: found 6, .* as 4; 45 of 45"):
        require_divisible(states, asked(*RANKS).launcher)
    require_divisible(states, asked("launcher.devices_per_trial=2").launcher)
    require_divisible([], asked(*RANKS).launcher)
