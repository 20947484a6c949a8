"""Preparing in a process of its own, so that no library with threads enters one that forks.

It ends with its caller: its standard input is the caller's end of a pipe.
"""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from configs.errors import BadInput
from configs.load import build
from data.building import Interrupted
from data.config import DataConfig

# What the pool's tracker says when its processes are ended half-way, as they are meant to be.
_QUIET = "ignore:resource_tracker:UserWarning"
ROOT = Path(__file__).resolve().parent.parent


def build_apart(config: DataConfig, data_dir: Path, parallel: bool) -> None:
    """`data.prepare.build_folder` in a fresh interpreter; raises what it raised."""
    request = {"config": asdict(config), "data_dir": str(data_dir), "parallel": parallel}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    warnings = [*filter(None, [os.environ.get("PYTHONWARNINGS")]), _QUIET]
    additions = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": ",".join(warnings)}
    process = subprocess.Popen(
        [sys.executable, "-m", "data.apart"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | additions,
        start_new_session=True,  # Ctrl-C is for the caller, who ends this process
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer = process.stdout.read()
        status = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    if status:
        raise RuntimeError(f"the process that prepares data ended with status {status}")
    refusal = json.loads(answer)
    if refusal:
        raise (Interrupted if refusal["interrupted"] else BadInput)(refusal["text"])


def _main() -> None:
    from data.prepare import build_folder

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_caller, daemon=True).start()
    answer: dict[str, object] = {}
    try:
        config = build(DataConfig, request["config"], "data")
        build_folder(config, Path(request["data_dir"]), request["parallel"])
    except BadInput as error:
        answer = {"text": str(error), "interrupted": isinstance(error, Interrupted)}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # libraries that stream end noisily when they are cut off half-way


def _end_with_caller() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    _main()
