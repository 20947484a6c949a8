"""Checkpoints: whole or passed over, never trusted unread, never able to run code."""

import errno
import os
import pickle
import random
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from common.errors import BadInput
from model import checkpoint_io
from model.checkpoint_io import require_plain
from tests.support.kill_harness import fork
from tests.support.tiny_training import alone, claimed, prepared_config, train_once
from training.loop import train
from training.trial import checkpoint
from training.trial.attempt import Attempt
from training.trial.checkpoint import CannotSave, Meta, newest, read, save

META = Meta(step=0, id="t", config={"a": 1}, data={}, environment={"threads": 1}, bitwise=True)


def state(step: int) -> dict:
    return {"step": step, "model": {"w": torch.full((300,), float(step))}, "note": None}


@pytest.fixture
def attempt(tmp_path) -> Attempt:
    """A trial with checkpoints of steps 1 and 2."""
    attempt = claimed(tmp_path / "trial")
    for step in (1, 2):
        save(attempt, replace(META, step=step), state(step))
    return attempt


def step_dirs(attempt: Attempt) -> list[str]:
    return sorted(path.name for path in attempt.checkpoints.iterdir())


def refuse_warning(text: str) -> None:
    raise AssertionError(text)


def test_checkpoint_comes_back(attempt):
    """A checkpoint comes back as it was."""
    found = newest(attempt.trial, refuse_warning)
    assert found.meta == replace(META, step=2)
    assert torch.equal(found.state["model"]["w"], torch.full((300,), 2.0))


def test_checkpoint_newest_two_are_kept_over_all_attempts(attempt):
    """The newest two are kept over all attempts."""
    attempt.release()
    second = claimed(attempt.trial)
    save(second, replace(META, step=3), state(3))
    assert step_dirs(attempt) == ["step-00000002"]
    save(second, replace(META, step=4), state(4))
    assert step_dirs(attempt) == []
    assert step_dirs(second) == ["step-00000003", "step-00000004"]


def damage(name: str, how: str):
    def apply(folder: Path) -> None:
        path = folder / name
        data = path.read_bytes()
        if how == "missing":
            path.unlink()
        else:
            sizes = {"empty": 0, "ten bytes": 10, "half": len(data) // 2, "short": len(data) - 1}
            path.write_bytes(data[: sizes[how]])

    return apply


@pytest.mark.parametrize("name", ["state.pt", "meta.json"])
@pytest.mark.parametrize("how", ["missing", "empty", "ten bytes", "half", "short"])
def test_checkpoint_damaged_falls_back_with_a_warning_that_names_both(attempt, name, how):
    """A damaged checkpoint falls back with a warning that names both."""
    damage(name, how)(attempt.checkpoints / "step-00000002")
    warnings: list[str] = []
    found = newest(attempt.trial, warnings.append)
    assert found.meta.step == 1
    [warning] = warnings
    assert "step-00000002" in warning and "using" in warning and "step-00000001" in warning


@pytest.mark.parametrize("name", ["state.pt", "meta.json"])
def test_checkpoint_notices_every_flipped_bit(attempt, name):
    """Every flipped bit is noticed."""
    path = attempt.checkpoints / "step-00000002" / name
    whole = path.read_bytes()
    offsets = random.Random(0).sample(range(len(whole)), 64)
    for offset in offsets:
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << random.Random(offset).randrange(8)
        path.write_bytes(flipped)
        warnings: list[str] = []
        assert newest(attempt.trial, warnings.append).meta.step == 1, offset
        assert len(warnings) == 1
    path.write_bytes(whole)
    assert newest(attempt.trial, refuse_warning).meta.step == 2


def test_checkpoint_damage_of_all_starts_nothing_again_by_itself(attempt):
    """With none left nothing starts again by itself."""
    for folder in attempt.checkpoints.iterdir():
        damage("state.pt", "half")(folder)
    with pytest.raises(BadInput, match=r"step-00000002: damaged.*no other checkpoint is left"):
        newest(attempt.trial, refuse_warning)


def test_checkpoint_of_a_trial_that_never_saved_is_none(tmp_path):
    """A trial that never saved has no checkpoint."""
    assert newest(claimed(tmp_path / "trial").trial, refuse_warning) is None


class Canary:
    """Runs code when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["torch.save", "pickle"])
def test_checkpoint_that_would_run_code_is_refused_and_does_not_run(
    attempt, tmp_path, monkeypatch, form
):
    """A state that would run code is refused and does not run.

    Its writer signed it with a digest that is right.
    """
    canary = Canary(tmp_path / "canary")
    monkeypatch.setattr(checkpoint, "require_plain", lambda state: None)
    if form == "pickle":
        monkeypatch.setattr(torch, "save", lambda state, file: file.write(pickle.dumps(state)))
    folder = save(attempt, replace(META, step=3), {"step": 3, "model": canary})
    monkeypatch.undo()
    with pytest.raises(BadInput, match=r"step-00000003: refused by the safe loader"):
        read(folder)
    warnings: list[str] = []
    assert newest(attempt.trial, warnings.append).meta.step == 2
    assert len(warnings) == 1 and not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.float64(1), "numpy.float64"),
        (Path("x"), "pathlib"),
        (np.zeros(2), "numpy.ndarray"),
        ({np.int64(1): 2}, "numpy.int64"),
    ],
)
def test_checkpoint_that_the_safe_loader_would_refuse_is_not_saved(attempt, value, name):
    """What the safe loader would refuse is not saved."""
    with pytest.raises(TypeError, match=rf"state\['deep'\].*{name}"):
        save(attempt, replace(META, step=3), {"step": 3, "deep": [value]})
    assert step_dirs(attempt) == ["step-00000001", "step-00000002"]


def test_checkpoint_saves_plain_values_of_all_kinds():
    """Plain values of all kinds are saved."""
    require_plain({"a": [1, 2.0, None, True, ("x", torch.zeros(1))], 3: {}})


def test_checkpoint_of_another_schema_is_refused(attempt, monkeypatch):
    """Another schema is refused."""
    monkeypatch.setattr(checkpoint_io, "SCHEMA", 2)
    save(attempt, replace(META, step=3), state(3))
    monkeypatch.undo()
    with pytest.raises(BadInput, match="found schema 2, expected 1"):
        read(attempt.checkpoints / "step-00000003")


def test_checkpoint_says_what_words_of_torch_about_a_full_disk_mean(attempt, monkeypatch):
    """Its writer counts the bytes that came to lie, and may know no reason."""

    def cut_short(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 155008 vs 1")

    monkeypatch.setattr("training.trial.checkpoint.write_sealed", cut_short)
    with pytest.raises(CannotSave, match=r"less was written than given, as on a full disk .*:672"):
        save(attempt, replace(META, step=3), state(3))
    failure = RuntimeError("CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr("training.trial.checkpoint.write_sealed", Mock(side_effect=failure))
    with pytest.raises(CannotSave, match="step-00000003: CUDA error: an illegal") as other:
        save(attempt, replace(META, step=3), state(3))
    assert "full disk" not in str(other.value)
    assert step_dirs(attempt) == ["step-00000001", "step-00000002"]


def test_checkpoint_on_a_full_disk_leaves_the_old_and_nothing_else(attempt, tmp_path):
    """A full disk leaves the old and nothing else. A limit on file size stands in for the disk."""

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        sizes = r"step-00000003: .*needs over 1,200 bytes, .* are free"
        with pytest.raises(CannotSave, match=sizes):
            save(attempt, replace(META, step=3), state(3))

    child = fork(full, tmp_path / "log")
    assert child.wait() == 0, child.log.read_text()
    assert step_dirs(attempt) == ["step-00000001", "step-00000002"]
    assert newest(attempt.trial, refuse_warning).meta.step == 2


def test_checkpoint_refused_once_costs_a_line_and_three_times_the_run(tmp_path, monkeypatch):
    """A disk that refuses once costs a line and three times the run."""
    config = prepared_config(tmp_path, 5)
    write = checkpoint_io._write
    refusals = 0

    def refuse(path, fill):
        nonlocal refusals
        if path.name == "state.pt" and refusals > 0:
            refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, fill)

    monkeypatch.setattr(checkpoint_io, "_write", refuse)
    refusals = 2
    record = train_once(config, tmp_path / "trial")
    assert record.status == "done"
    log = (tmp_path / "trial/attempt-001/log.txt").read_text()
    assert "no checkpoint (2 of 3)" in log and "are free" in log
    refusals = 3
    with pytest.raises(BadInput, match="3 times in a row"):
        train_once(config, tmp_path / "other")


def test_checkpoint_of_a_run_always_loads_with_the_safe_loader(tmp_path):
    """Every checkpoint of a run loads with the safe loader."""
    train_once(prepared_config(tmp_path, 3), tmp_path / "trial")
    folders = list((tmp_path / "trial").glob("attempt-*/checkpoints/*"))
    assert len(folders) == 2
    for folder in folders:
        assert read(folder).state["model"]["wte.weight"].shape == (256, 16)


def test_checkpoint_of_another_model_is_refused_by_its_first_fields(tmp_path):
    """A checkpoint of another model is refused by its first fields."""
    config = prepared_config(tmp_path, 3)
    train_once(config, tmp_path / "trial")
    (tmp_path / "trial/record.json").unlink()
    wide = replace(config, model=replace(config.model, n_embd=32))
    with pytest.raises(BadInput, match=r"model\.n_embd: 16, now 32"):
        train(wide, claimed(tmp_path / "trial"), alone(), quiet=True)


def test_checkpoint_before_a_damaged_one_is_where_a_run_goes_on(tmp_path):
    """A run goes on from the checkpoint before a damaged one."""
    config = prepared_config(tmp_path, 4)
    whole = train_once(config, tmp_path / "whole")
    trial = tmp_path / "trial"
    shutil.copytree(tmp_path / "whole", trial)
    (trial / "record.json").unlink()
    damage("state.pt", "half")(trial / "attempt-001/checkpoints/step-00000004")
    again = train_once(config, trial)
    assert again.weights_digest == whole.weights_digest
    log = (trial / "attempt-002/log.txt").read_text()
    assert "damaged" in log and "resumed at step 3" in log
    names = [path.name for path in trial.glob("attempt-*/checkpoints/*")]
    assert sorted(names) == ["step-00000003", "step-00000004"]
