"""Grids of the experiments, and the stages of one on runs made up from known laws."""

import math
from collections import Counter
from dataclasses import replace
from functools import cache

from configs.load import compose_config
from configs.schema import build
from model.flops import params_effective
from scaling.plan.config import GridConfig, ScoutConfig, TuningConfig
from scaling.plan.plan import Plan
from scaling.plan.stages import (
    next_plan,
    plan_stages,
)
from training.config import TrainConfig
from training.trial.record import RunRecord, blank_record

CORPUS = 29_600_000


@cache
def experiment(name: str, *overrides: str) -> tuple[TrainConfig, GridConfig]:
    values = compose_config("sweep", (f"experiment={name}", *overrides))
    del values["launcher"], values["foresight"]
    values.pop("fit", None)
    grid = build(GridConfig, values.pop("grid"), "grid")
    return build(TrainConfig, values), grid


SMOKE = experiment("smoke")

QUICKSTART = experiment("quickstart")


def ids(plan: Plan) -> set[str]:
    return {trial.id for trial in plan.trials}


def widths(plan: Plan) -> dict[float, list[int]]:
    found: dict[float, set[int]] = {}
    for trial in plan.trials:
        found.setdefault(trial.flops_budget, set()).add(trial.config.model.n_embd)
    return {budget: sorted(found[budget]) for budget in sorted(found)}


BASE, GRID = QUICKSTART

SCOUT = ScoutConfig(budgets=None, sizes=6, span=8.0)

TUNING = TuningConfig(
    lr_factors=(0.25, 0.5, 1.0, 2.0, 4.0), batch_factors=(0.5, 1.0, 2.0), cells=3, cost=0.25
)

BLANK = blank_record(BASE, 1, "done", None)

STAGED = replace(GRID, scout=SCOUT, tuning=TUNING)


def valley(config: TrainConfig, tokens_per_param: float = 20.0, exponent: float = 0.45) -> float:
    """A parabola in log N about N* = k C^exponent, with that many tokens a parameter at 1e11."""
    size, tokens = params_effective(config.model), config.schedule.tokens_planned
    flops = 6 * size * tokens
    best = math.sqrt(1e11 / (6 * tokens_per_param)) * (flops / 1e11) ** exponent
    return 2.0 - 0.05 * math.log(flops / 1e11) + 0.1 * math.log(size / best) ** 2


def detuned(config: TrainConfig, lr: float, batch: float) -> float:
    """`valley` for a trainer whose best rate and batch are so many times those of the toy rules."""
    off_lr = math.log(config.optimizer.lr / (lr * min(0.02, 0.28 / config.model.n_embd)))
    off_batch = math.log(
        config.schedule.batch_tokens / (batch * 0.2 * config.schedule.tokens**0.571)
    )
    # A larger batch wants a larger rate: the optimum is joint.
    return valley(config) + 0.05 * (off_lr - 0.5 * off_batch) ** 2 + 0.05 * off_batch**2


def first_plan(base, grid, dataset_tokens) -> Plan:
    return plan_stages(base, grid, dataset_tokens)[0]


def ran(plan: Plan, law=valley, known: dict[str, RunRecord] | None = None) -> dict[str, RunRecord]:
    """The records of the plan's trials, had they followed a law; inf is a run that diverged."""
    records = dict(known or {})
    for trial in plan.trials:
        loss = law(trial.config)
        status = "done" if math.isfinite(loss) else "diverged"
        ended = {"status": status, "loss": loss if status == "done" else None}
        records.setdefault(trial.id, replace(BLANK, id=trial.id, **ended))
    return records


def through(plan: Plan, law=valley) -> list[Plan]:
    """The plans of all stages, one after the other."""
    plans, records = [plan], {}
    while plan is not None:
        records = ran(plan, law, records)
        plan = next_plan(plan, records)
        plans += [plan] if plan else []
    return plans


def parts(plan: Plan) -> dict[str, int]:
    return dict(sorted(Counter(trial.part for trial in plan.trials).items()))
