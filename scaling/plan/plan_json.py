"""A plan as plan.json holds it, schema 1.

What a grid does not ask for goes without saying: the plan of a grid without arms is as it was
before there were any, and a trial's `arm` says there which part of the sweep it belongs to.
"""

from collections.abc import Mapping
from typing import Any

from common.errors import BadInput
from configs.schema import build
from scaling.plan.plan import Plan, main_part
from training.config import as_mapping
from training.trial.identity import trial_id


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan's part of plan.json, schema 1."""
    values = as_mapping(plan)
    values["config"] = values.pop("base")
    del values["arm"]
    if plan.grid.arms is None:
        del values["grid"]["arms"]
    if not plan.grid.trunk:
        del values["grid"]["trunk"]
    if not plan.learned.arms:
        del values["learned"]["arms"]
    for trial in values["trials"]:
        part, arms = trial.pop("part"), trial.pop("arms")
        trial |= {"arms": dict(arms)} if arms else {"arm": part}
    for cell in values["left_out"]:
        if cell["arm"] is None:
            del cell["arm"]
    return {"schema": 1, **values}


def plan_from_json(values: Mapping[str, Any]) -> Plan:
    """The plan in a parsed plan.json; raises BadInput where it is not one, or was edited by hand.

    `data_digest` and `launcher`, which others keep in the same file, are not looked at.
    """
    if values.get("schema") != 1:
        raise BadInput(f"plan.json: schema: found {values.get('schema')!r}, expected 1")
    others = ("schema", "data_digest", "launcher")
    fields = {key: value for key, value in values.items() if key not in others}
    if "config" in fields:
        fields["base"] = fields.pop("config")
    if isinstance(fields.get("trials"), list):
        fields["trials"] = [_trial_fields(trial) for trial in fields["trials"]]
    plan = build(Plan, fields, "plan.json")
    for trial in plan.trials:
        if trial.id != trial_id(trial.config):
            raise BadInput(
                f"plan.json: trial {trial.id}: found a config of id {trial_id(trial.config)}; "
                "plan.json is not to be edited, plan again instead"
            )
    return plan


def _trial_fields(trial: Any) -> Any:
    """A trial of plan.json by the names of our fields; what is none is left to be refused."""
    if not isinstance(trial, dict):
        return trial
    fields = dict(trial)
    if "arm" in fields:
        fields["part"] = fields.pop("arm")
    if isinstance(arms := fields.get("arms"), dict):
        fields |= {"arms": list(arms.items()), "part": main_part(arms.values())}
    return fields
