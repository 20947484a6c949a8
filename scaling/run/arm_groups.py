"""Arms that name files of configs/, as `optimizer: muon`: what they change, field by field.

A plan then says of itself what each arm is, whatever becomes of the files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from common.errors import BadInput
from configs.cli import Arguments
from configs.overrides import Keys, key_of
from scaling.plan.arms import GROUPS, RULED, flat
from scaling.plan.config import GridConfig


def resolved(grid: GridConfig, arguments: Arguments, keys: Keys) -> GridConfig:
    """The grid with each chosen file of an arm replaced by the fields in which it differs.

    What an experiment sets beside the file still counts, as if the file had been typed. The arm's
    own fields come last. Raises BadInput.
    """
    if grid.arms is None:
        return grid
    plain = arguments.compose(keys)
    arms = {}
    for name, changes in grid.arms.items():
        chosen = {key: value for key, value in changes.items() if _is_file(key, value)}
        own = {key: value for key, value in changes.items() if key not in chosen}
        arms[name] = dict(_differences(name, chosen, arguments, keys, plain)) | dict(flat(own))
    return replace(grid, arms=arms)


def _is_file(key: str, value: Any) -> bool:
    return key in GROUPS and key not in ("precision", "ladder") and isinstance(value, str)


def _differences(
    name: str,
    chosen: Mapping[str, str],
    arguments: Arguments,
    keys: Keys,
    plain: Mapping[str, Any],
) -> Iterator[tuple[str, Any]]:
    if not chosen:
        return
    kept = [text for text in arguments.overrides if key_of(text) not in chosen]
    words = (*kept, *(f"{group}={file}" for group, file in chosen.items()))
    try:
        values = replace(arguments, overrides=words).compose(keys)
    except BadInput as error:
        raise BadInput(f"grid.arms.{name}: {error}") from None
    for group in chosen:
        before = dict(flat({group: plain.get(group)}))
        now = dict(flat({group: values[group]}))
        # What a file does not have, as a cosine no cool-down, is null.
        for field in {**now, **before}:
            if field not in RULED and before.get(field) != now.get(field):
                yield field, now.get(field)
