"""The record: complete, strict, written once, and never by an owner that was taken over."""

import json
from dataclasses import asdict, replace

import pytest

from common.errors import BadInput
from common.files import with_digest
from model import flops
from tests.support.tiny_training import tiny_config
from training.trial.attempt import Attempt, Watch, claim
from training.trial.identity import trial_id
from training.trial.record import (
    REMEDY,
    DamagedRecord,
    blank_record,
    publish,
    read_record,
    set_damaged_aside,
)


@pytest.fixture
def record(tmp_path):
    config = tiny_config(tmp_path)
    done = blank_record(config, 1, "done", None)
    return replace(done, loss=2.5, tokens=768, steps=6, weights_digest="ab", bitwise=True)


def claimed(trial) -> Attempt:
    attempt = claim(trial, Watch())
    assert isinstance(attempt, Attempt)
    return attempt


def test_record_comes_back(tmp_path, record):
    """A record comes back as it was."""
    assert publish(claimed(tmp_path / "trial"), record)
    assert read_record(tmp_path / "trial") == record


def test_record_of_a_trial_without_one_is_none(tmp_path):
    """A trial without a record has none."""
    assert read_record(tmp_path) is None


def test_record_written_first_stays(tmp_path, record):
    """The first record stays."""
    attempt = claimed(tmp_path / "trial")
    assert publish(attempt, record)
    assert not publish(attempt, replace(record, loss=1.0))
    assert read_record(attempt.trial) == record


def test_record_of_an_owner_taken_over_is_not_published(tmp_path, record):
    """An owner that was taken over publishes nothing."""
    attempt = claimed(tmp_path / "trial")
    attempt.release()
    claimed(tmp_path / "trial")
    assert not publish(attempt, record)
    assert read_record(attempt.trial) is None


def test_record_counts_are_those_of_the_model(tmp_path, record):
    """Counts are those of the model."""
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
def test_record_that_cannot_be_believed_is_refused(tmp_path, record, change, expected):
    """A record that cannot be believed is refused."""
    (tmp_path / "record.json").write_text(json.dumps({**asdict(record), **change}))
    with pytest.raises(BadInput, match=expected):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "content",
    ['{"a": 1}', "[]", "3", '{"schema": "2"}', '{"schema": 0}', "", "{", "[" * 100_000, "\x00"],
)
def test_record_that_is_none_is_damaged_and_says_what_to_do(tmp_path, content):
    """What is no record is damaged, and not to be read by newer code."""
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(DamagedRecord) as refusal:
        read_record(tmp_path)
    text = str(refusal.value)
    assert text.startswith(f"{path}: ") and "newer code" not in text and "\n" not in text
    assert text.endswith(REMEDY)


def test_record_shows_every_changed_byte(tmp_path, record):
    """A record of which a byte has changed is damaged, or says the same; none is ever believed."""
    publish(claimed(tmp_path / "trial"), record)
    path = tmp_path / "trial" / "record.json"
    whole = path.read_bytes()
    damaged = 0
    for place in range(len(whole)):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 7]) + whole[place + 1 :]
        )
        try:
            found = read_record(tmp_path / "trial")
        except DamagedRecord:
            damaged += 1
        else:
            assert found == record  # a space became another
    assert damaged > 0.7 * len(whole)


def test_record_with_another_loss_and_its_old_digest_is_damaged(tmp_path, record):
    """An edited record is damaged; without its digest it is one that was written by hand."""
    publish(claimed(tmp_path / "trial"), record)
    path = tmp_path / "trial" / "record.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"loss": 1.5}))
    with pytest.raises(DamagedRecord, match="differs from its own digest"):
        read_record(tmp_path / "trial")
    del values["digest"]
    path.write_text(json.dumps(values | {"loss": 1.5}))
    by_hand = read_record(tmp_path / "trial")
    assert by_hand.loss == 1.5 and by_hand.digest is None


def test_record_of_a_version_with_more_fields_is_refused_and_not_damaged(tmp_path, record):
    """What another version wrote whole is not to be trained again."""
    values = with_digest({**asdict(record), "colour": "red"})
    (tmp_path / "record.json").write_text(json.dumps(values))
    with pytest.raises(BadInput, match="colour") as refusal:
        read_record(tmp_path)
    assert not isinstance(refusal.value, DamagedRecord)


def test_set_damaged_aside_lets_the_trial_run_again(tmp_path, record):
    """A damaged record moves into its attempt, once, and a whole one stays."""
    trial = tmp_path / "trial"
    publish(claimed(trial), record)
    assert set_damaged_aside(trial) is None
    (trial / "record.json").write_text("{")
    said = set_damaged_aside(trial)
    assert said and "attempt-001/record.damaged.json" in said
    assert (trial / "attempt-001/record.damaged.json").read_text() == "{"
    assert read_record(trial) is None and set_damaged_aside(trial) is None
    assert claimed(trial).number == 2
