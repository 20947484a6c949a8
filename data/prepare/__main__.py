"""Turn text, or ready shards, into token shards in a folder of `out`.

python -m data.prepare experiment=gpt2_124m                      what train.py of it needs
python -m data.prepare data=fineweb data.train_tokens=1e9        the same, by the data of a run
python -m data.prepare source=files path=book.txt tokenizer=gpt2 out=datasets_cache
next: docs/prepare-data.md

python -m data.prepare source=shards path=FOLDER                 shards of llm.c or nanoGPT

Said as a run says it (experiment=, data=, data.*, runtime.data_dir=), or by the fields below, where
null leaves a value to the group data=<source>. The same command goes on after an interruption.
"""

import common.start  # noqa: F401

# isort: split
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, get_args, get_type_hints

import yaml

from common.errors import BadInput, ExitStatus
from configs.cli import Arguments, run_entry
from configs.overrides import Keys, key_of
from configs.schema import build
from configs.suggest import one_of
from data.config import DataConfig
from data.prepare.pipeline import fetch

SWEEP = Path(__file__).resolve().parent.parent.parent / "sweep.py"


@dataclass(frozen=True)
class Command:
    """Where the data go.

    out  the folder in which a folder of the shards is made, as runtime.data_dir of a run
    """

    out: str | None = None


KEYS = Keys({"": (Command, DataConfig)}, paths=("out", "path"))
RUN_KEYS = Keys({"": Command, "data": DataConfig}, partly=True)


def main(arguments: Arguments) -> int:
    """Prepare what the command line asks for and say where it is."""
    config, out, sweeps = requested(arguments)
    if sweeps and config.is_of_the_hub and config.train_tokens is None:
        _leave_to_the_sweep(arguments)
    print(fetch(config, out))
    return ExitStatus.DONE


def _leave_to_the_sweep(arguments: Arguments) -> NoReturn:
    """Have the plan of the sweep say how much of the data set is to be prepared."""
    lines = [re.sub(r"^out=", "runtime.data_dir=", line) for line in arguments.overrides]
    print("a sweep's data: python sweep.py mode=prepare, with the same arguments", file=sys.stderr)
    words = [str(SWEEP), "--config-dir", str(arguments.config_dir), *lines, "mode=prepare"]
    os.execv(sys.executable, [sys.executable, *words])


def requested(arguments: Arguments) -> tuple[DataConfig, Path, bool]:
    """The data of a run as train.py and sweep.py are told it, or a source with its own fields.

    With their folder, and whether they are a sweep's.
    """
    if arguments.typed("experiment", "data", "runtime", "grid"):
        run = Arguments("train", arguments.overrides, arguments.config_dir)
        values = run.compose(RUN_KEYS)
        out = Path(values.get("out") or values["runtime"]["data_dir"])
        return build(DataConfig, values["data"], "data"), out, bool(values.get("grid"))
    values = arguments.compose(KEYS)
    out = Path(values.pop("out"))
    group = arguments.config_dir / "data" / f"{values['source']}.yaml"
    if not group.is_file():
        known = get_args(get_type_hints(DataConfig)["source"])
        raise BadInput(
            f"source: found {values['source']!r}, expected {one_of(values['source'], known)}"
        )
    given = {key_of(override) for override in arguments.overrides}
    typed = {key: value for key, value in values.items() if value is not None or key in given}
    defaults = yaml.safe_load(group.read_text(encoding="utf-8")) | {"path": None}
    if isinstance(typed.get("hub"), dict):
        typed["hub"] = (defaults["hub"] or {}) | typed["hub"]
    return build(DataConfig, defaults | typed, "data"), out, False


if __name__ == "__main__":
    command = "python -m data.prepare"
    sys.exit(run_entry(main, "prepare", __doc__ or "", prog=command, keys=KEYS))
