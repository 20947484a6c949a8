"""Paths at which nothing should be read or written: one line at once, and nothing left there."""

import os
import time
from pathlib import Path

import pytest

import fit
import sweep
import train
from common.errors import ExitStatus
from configs.cli import run_entry
from data.prepare import __main__ as prepare
from tests.support.fit_tables import grid_csv
from tests.support.tiny_training import write_text

MAINS = {"fit": fit.main, "sweep": sweep.main, "train": train.main, "prepare": prepare.main}
# No device that ends at once is among them, nor a folder without anything.
STRANGE = ("pipe", "loop.csv", "zero.csv", "/dev/zero", "/dev/full", "/proc", "folder.csv", "a\0b")
SMOKE = (
    "experiment=smoke data=files data.tokenizer=bytes model.vocab_size=256 evaluation.tokens=512"
)
TRAIN = f"train {SMOKE} runtime.data_dir=shards"
LINES = [
    *(f"fit runs={path} out=out" for path in (*STRANGE, "pipe.csv", "2GB.csv", "2GB.parquet")),
    *(f"fit runs=t.csv compare={path} out=out" for path in (*STRANGE, "pipe.csv", "2GB.csv")),
    *(
        f"fit runs=t.csv out={path}"
        for path in ("pipe", "/dev/zero", "loop.csv", "/proc/x", "a\0b")
    ),
    *(f"sweep mode=status out={path}" for path in (*STRANGE, "piped", "endless")),
    *(f"{TRAIN} data.path={path} out=out" for path in (*STRANGE, "texts", "texts2", "texts3")),
    *(f"{TRAIN} data.path=text out={path}" for path in ("pipe", "/dev/zero", "loop.csv", "a\0b")),
    *(f"{TRAIN} data.path=text init_from={path} out=out" for path in STRANGE),
    *(f"train --config-dir {path}" for path in (*STRANGE, "deep", "piped")),
    *(f"prepare source=files tokenizer=bytes out=out path={path}" for path in STRANGE),
    *(f"prepare source=files tokenizer=bytes path=text out={path}" for path in ("pipe", "a\0b")),
]


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A folder with one of each kind."""
    root = tmp_path_factory.mktemp("strange")
    (root / "text").mkdir()
    write_text(root / "text")
    grid_csv(root)
    for name in ("folder.csv", "piped", "endless", "texts", "texts2", "texts3", "deep"):
        (root / name).mkdir()
    for name in ("pipe", "pipe.csv", "piped/plan.json", "piped/train.yaml", "texts/a.txt"):
        os.mkfifo(root / name)
    for name in ("zero.csv", "endless/plan.json", "texts2/a.txt"):
        (root / name).symlink_to("/dev/zero")
    for name in ("loop.csv", "texts3/a.txt"):
        (root / name).symlink_to(Path(name).name)
    for name, head in (("2GB.csv", b""), ("2GB.parquet", b"PAR1")):
        with (root / name).open("wb") as file:
            file.write(head)
            file.truncate(2 << 30)
    (root / "deep/train.yaml").write_text("a: " + "[" * 100_000)
    return root


@pytest.mark.parametrize("line", LINES)
def test_a_strange_path_is_one_line_and_leaves_nothing(line, strange, monkeypatch, capsys):
    """Status 2 at once, whatever stands there: no endless device is read, nor a file of 2 GB."""
    monkeypatch.chdir(strange)
    name, *words = line.split(" ")
    before, start = set(os.listdir()), time.process_time()
    status = run_entry(MAINS[name], name, "", words)
    said = capsys.readouterr().err.splitlines()
    assert status == ExitStatus.BAD_INPUT and said[-1].startswith("error: ")
    assert len([text for text in said if not text.startswith("data: ")]) == 1
    assert said[-1].isprintable()
    assert time.process_time() - start < 20
    assert set(os.listdir()) - before <= {"shards"}
