"""A trial is what it reads, wherever that lies: paths are spellings, digests are identity."""

import json
import os
import shutil
from pathlib import Path

import pytest

from common.errors import BadInput
from tests.support.tiny_training import stopping, tiny_config, write_text
from tests.support.train_command import train_command
from training.config import TrainConfig
from training.step import begin_step
from training.trial.attempt import RECORD
from training.trial.folder import (
    DATA,
    NAME,
    known_data,
    require_same_config,
    require_same_data,
    write_config,
)
from training.trial.identity import at_path, trial_id
from training.trial.record import blank_record, read_record, record_text


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run(path, ...)`: train.py on the text at a path, into one folder; shards lie in another."""
    monkeypatch.chdir(tmp_path)
    command = train_command(tmp_path)
    write_text(tmp_path / "text")

    def call(path, *overrides, step_function=begin_step):
        config = tiny_config(tmp_path)
        words = (f"data.path={path}", f"out={tmp_path / 'out'}", *overrides)
        status = command(*words, config=config, step_function=step_function)
        for attempt in (tmp_path / "out").glob("attempt-*"):
            (attempt / "released").touch()  # its owner, this process, lives on
        return status

    return call


def out_record(tmp_path):
    record = read_record(tmp_path / "out")
    assert record is not None
    return record


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def other_text(folder: Path) -> Path:
    """As many words, others: of equal file names."""
    return write_text(folder, seed=1)


def test_another_spelling_of_the_path_has_nothing_to_do(run, tmp_path, capsys):
    assert run(tmp_path / "text") == 0
    before = tree(tmp_path / "out")
    for path in ("text", "./text/", "../" + tmp_path.name + "/text"):
        assert run(path) == 0
        assert "nothing to do" in capsys.readouterr().out
    (tmp_path / "link").symlink_to("text")
    assert run("link") == 0
    assert tree(tmp_path / "out") == before


def test_a_moved_text_is_the_same_trial_and_a_copy_too(run, tmp_path, capsys):
    assert run(tmp_path / "text") == 0
    (tmp_path / "text").rename(tmp_path / "moved")
    assert run("moved") == 0
    shutil.copytree(tmp_path / "moved", tmp_path / "copy", copy_function=shutil.copyfile)
    assert run("copy", f"runtime.data_dir={tmp_path / 'other_shards'}") == 0
    assert capsys.readouterr().out.count("nothing to do") == 2


def test_other_content_is_refused_by_digest_at_any_path(run, tmp_path, capsys):
    assert run("text") == 0
    before, digest = tree(tmp_path / "out"), out_record(tmp_path).data_digest
    other_text(tmp_path / "other")
    assert run("other") == 2
    told = capsys.readouterr().err
    assert f"expected {digest}" in told and "holds another trial" in told
    shutil.rmtree(tmp_path / "text")
    (tmp_path / "other").rename(tmp_path / "text")
    assert run("text") == 2  # under the old name
    assert f"expected {digest}" in capsys.readouterr().err
    assert tree(tmp_path / "out") == before


def test_text_that_is_gone_is_not_needed_once_prepared(run, tmp_path, capsys):
    assert run("text", step_function=stopping) == 75
    shutil.rmtree(tmp_path / "text")
    assert run("text") == 0  # the same path
    assert "text is gone; reading what was prepared from it" in capsys.readouterr().err
    assert out_record(tmp_path).steps == 6
    assert run("nowhere") == 0  # another path to nothing: what the trial is of is known
    shutil.rmtree(tmp_path / "shards")
    assert run("text") == 0  # it has ended
    assert run("nowhere") == 2
    assert "holds another trial: data.path: 'text', now 'nowhere'" in capsys.readouterr().err


def test_a_folder_that_lost_its_text_is_said_to_have(run, tmp_path, capsys):
    """It is there and holds no text any more: what was prepared serves, but never in silence."""
    assert run("text") == 0
    for path in (tmp_path / "text").iterdir():
        path.unlink()
    capsys.readouterr()
    assert run("text", f"out={tmp_path / 'again'}") == 0
    said = capsys.readouterr().err
    assert "data.path: text: found" in said and "reading what was prepared from it" in said


def test_a_new_run_needs_no_text_either(run, tmp_path, capsys):
    """What was prepared from this very path serves, and from no other."""
    assert run("text") == 0
    shutil.rmtree(tmp_path / "text")
    assert run("text", f"out={tmp_path / 'again'}") == 0
    capsys.readouterr()
    assert run("text", f"out={tmp_path / 'third'}", "data.val_fraction=0.3") == 2
    assert run("txt", f"out={tmp_path / 'third'}") == 2
    assert "data.path: txt: found no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("moved", [False, True])
def test_a_resumed_run_goes_on_from_another_path_to_the_same_bits(run, tmp_path, moved):
    assert run("text", f"out={tmp_path / 'whole'}") == 0
    assert run("text", step_function=stopping) == 75
    identity = trial_id(TrainConfig(**vars(at_path(tiny_config(tmp_path), "text"))))
    if moved:
        (tmp_path / "text").rename(tmp_path / "elsewhere")
    assert run("elsewhere" if moved else tmp_path / "text") == 0
    record, whole = out_record(tmp_path), read_record(tmp_path / "whole")
    assert record.id == whole.id == identity
    assert record.weights_digest == whole.weights_digest and record.attempts == 2


def test_a_resumed_run_refuses_other_content(run, tmp_path, capsys):
    assert run("text", step_function=stopping) == 75
    before = tree(tmp_path / "out")
    other_text(tmp_path / "other")
    assert run("other") == 2
    assert "holds another trial: data: found digest" in capsys.readouterr().err
    assert tree(tmp_path / "out") == before


def test_a_folder_of_earlier_code_knows_its_data_by_record_or_checkpoint(run, tmp_path, capsys):
    """The digest is in the record, or in a checkpoint; else the path must hold."""
    out = tmp_path / "out"
    assert run("text", step_function=stopping) == 75
    digest = known_data(out)
    (out / DATA).unlink()
    assert known_data(out) == digest
    other_text(tmp_path / "other")
    assert run("other") == 2
    failed = blank_record(tiny_config(tmp_path), 1, "failed", "a test")  # which has no digest
    (out / RECORD).write_text(record_text(failed))
    assert known_data(out) == digest
    (out / RECORD).unlink()
    for checkpoint in out.glob("attempt-*/checkpoints/*"):
        shutil.rmtree(checkpoint)
    assert known_data(out) is None
    (tmp_path / "text").rename(tmp_path / "moved")
    assert run("moved") == 2
    assert "data.path: 'text', now 'moved'" in capsys.readouterr().err
    (tmp_path / "moved").rename(tmp_path / "text")
    assert run("text") == 0
    (out / DATA).unlink()
    assert known_data(out) == digest == out_record(tmp_path).data_digest
    assert run("other") == 2


@pytest.mark.parametrize("content", ["", "[]", '{"digest": 3}', '{"digest"', "{}"])
def test_a_damaged_data_json_is_one_line(tmp_path, content):
    config = tiny_config(tmp_path)
    write_config(tmp_path, config)
    (tmp_path / DATA).write_text(content)
    with pytest.raises(BadInput, match=DATA):
        require_same_data(tmp_path, config, "0" * 16)


def test_require_same_config_names_what_differs_but_no_path(tmp_path):
    config = tiny_config(tmp_path)
    write_config(tmp_path, config)
    require_same_config(tmp_path, at_path(config, "elsewhere"))
    with pytest.raises(BadInput, match=r"another trial: seed: 0, now 1; use another out"):
        require_same_config(tmp_path, tiny_config(tmp_path, seed=1))
    with pytest.raises(BadInput, match=r"data.val_fraction: 0.2, now 0.3"):
        require_same_config(tmp_path, tiny_config(tmp_path, data__val_fraction=0.3))


def test_init_from_by_another_spelling_is_the_same(run, tmp_path, capsys):
    """Weights to begin with lie where they lie, however that is spelled."""
    assert run("text", f"out={tmp_path / 'first'}") == 0
    assert run("text", "+init_from=first") == 0
    assert run("text", f"+init_from={tmp_path / 'first'}") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / DATA).read_text())["digest"]
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    assert run("text", "+init_from=second") == 2
    assert os.path.exists(tmp_path / "out" / NAME)
