"""The record: complete, strict, written once, and never by an owner that was taken over."""

import json
import subprocess
from dataclasses import asdict, replace

import pytest
from tiny_training import tiny_config

from configs.errors import BadInput
from model import flops
from training.attempt import Attempt, Watch, claim
from training.config import trial_id
from training.record import blank_record, code_version, publish, read_record


@pytest.fixture
def record(tmp_path):
    config = tiny_config(tmp_path)
    done = blank_record(config, 1, "done", None)
    return replace(done, loss=2.5, tokens=768, steps=6, weights_digest="ab", bitwise=True)


def claimed(trial) -> Attempt:
    attempt = claim(trial, Watch())
    assert isinstance(attempt, Attempt)
    return attempt


def test_a_record_comes_back_as_it_was(tmp_path, record):
    assert publish(claimed(tmp_path / "trial"), record)
    assert read_record(tmp_path / "trial") == record


def test_a_trial_without_a_record_has_none(tmp_path):
    assert read_record(tmp_path) is None


def test_the_first_record_stays(tmp_path, record):
    attempt = claimed(tmp_path / "trial")
    assert publish(attempt, record)
    assert not publish(attempt, replace(record, loss=1.0))
    assert read_record(attempt.trial) == record


def test_an_owner_that_was_taken_over_publishes_nothing(tmp_path, record):
    attempt = claimed(tmp_path / "trial")
    attempt.release()
    claimed(tmp_path / "trial")
    assert not publish(attempt, record)
    assert read_record(attempt.trial) is None


def test_counts_are_those_of_the_model(tmp_path, record):
    config = tiny_config(tmp_path)
    assert record.id == trial_id(config)
    assert record.params_total == flops.params_total(config.model)
    assert record.params_effective * 6 == flops.flops_per_token_exact(config.model)
    assert record.tokens_planned == 768


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema": 2}, "found schema 2, expected 1; use the newer code"),
        ({"status": "fine"}, "status: found 'fine'"),
        ({"colour": "red"}, "colour: unknown key"),
        ({"loss": "2.5"}, "loss: found '2.5'"),
        ({"loss": None}, "loss: found None, expected a number in a record that is done"),
        ({"steps": None}, "steps: found None"),
    ],
)
def test_a_record_that_cannot_be_believed_is_refused(tmp_path, record, change, expected):
    (tmp_path / "record.json").write_text(json.dumps({**asdict(record), **change}))
    with pytest.raises(BadInput, match=expected):
        read_record(tmp_path)


@pytest.mark.parametrize("content", ['{"a": 1}', "[]", "3", '{"schema": "2"}', '{"schema": 0}'])
def test_what_is_no_record_is_to_be_removed_and_not_read_by_newer_code(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(BadInput) as refusal:
        read_record(tmp_path)
    text = str(refusal.value)
    assert text.startswith(f"{path}: found schema ") and "newer code" not in text
    assert "damaged, or no record; remove it and the trial is trained again" in text


def test_code_outside_a_repository_has_no_version(tmp_path):
    assert code_version(tmp_path) == (None, None)


def test_a_changed_tracked_file_makes_the_code_dirty(tmp_path):
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    (tmp_path / "code.py").write_text("1")
    git("init", "-q")
    git("add", "code.py")
    git("commit", "-qm", "Add code")
    commit, dirty = code_version(tmp_path)
    assert commit and len(commit) == 40 and dirty is False
    (tmp_path / "code.py").write_text("2")
    assert code_version(tmp_path) == (commit, True)
