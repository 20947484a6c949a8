"""A sweep is of its data, not of a path: moved text changes nothing, other text is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import BadInput
from configs.cli import Arguments
from configs.load import CONFIG_DIR
from data.prepare import ready_shards
from scaling.fit.table.sweep_directory import read_sweep
from scaling.run import store, sweep, trial_states
from scaling.run.command import read_request
from scaling.run.merge import merge
from tests.support.real_sweep import digests, place, work
from tests.support.tiny_sweep import request
from tests.support.tiny_training import write_text
from training.dataset import prepared_data
from training.trial.folder import read_config
from training.trial.record import read_record


def at(folder: Path, out: Path, path: Path, *more: str):
    """The request of `place`, with its text at another path."""
    words = ("runtime.checkpoint_every_s=60", f"runtime.data_dir={folder / 'shards'}", *more)
    return request(folder / "unused", out, *words, f"data.path={path}")


def about(out: Path, *more: str):
    """`sweep.py out=...`, about the plan that is there."""
    return read_request(Arguments("sweep", (f"out={out}", *more), CONFIG_DIR))


@pytest.fixture
def placed(tmp_path):
    """A request and its plan of two trials, and the same done where the text lay at first."""
    asked, stored = place(tmp_path, tmp_path / "out", "grid.budgets=[1e8]")
    _, expected = place(tmp_path, tmp_path / "whole", "grid.budgets=[1e8]")
    return asked, stored, digests(work(asked_in(asked, tmp_path / "whole"), expected))


def asked_in(asked, out: Path):
    return replace(asked, command=replace(asked.command, out=str(out)))


@pytest.mark.parametrize("shards", ["kept", "made again"])
def test_a_sweep_goes_on_with_its_text_elsewhere(placed, tmp_path, shards):
    """The same ids, the same bits, whether the shards are made again or not."""
    _, stored, expected = placed
    (tmp_path / "text").rename(tmp_path / "moved")
    words = ["grid.budgets=[1e8]"]
    if shards == "made again":
        words.append(f"runtime.data_dir={tmp_path / 'other'}")
    states = sweep.run(at(tmp_path, tmp_path / "out", tmp_path / "moved", *words))
    assert digests(states) == expected
    assert store.read_plan(tmp_path / "out") == stored
    for state in states:
        assert state.record.id == state.trial.id and state.record.bitwise
        assert read_config(tmp_path / "out/trials" / state.trial.id).data == stored.plan.base.data


def test_a_sweep_goes_on_without_its_text(placed, tmp_path, capsys):
    """By the plan alone: its shards are found by digest, wherever they were prepared from."""
    _, stored, expected = placed
    (tmp_path / "text").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "shards")
    elsewhere = at(tmp_path, tmp_path / "x", tmp_path / "moved").base
    assert prepared_data(elsewhere).digest == stored.data_digest
    shutil.rmtree(tmp_path / "moved")
    assert digests(sweep.run(about(tmp_path / "out"))) == expected
    assert "is gone; reading what was prepared from it" in capsys.readouterr().err


def test_a_plan_s_own_command_takes_another_path(placed, tmp_path):
    _, _, expected = placed
    (tmp_path / "text").rename(tmp_path / "moved")
    data = (f"data.path={tmp_path / 'moved'}", f"runtime.data_dir={tmp_path / 'other'}")
    assert digests(sweep.run(about(tmp_path / "out", *data, "data.verify=full"))) == expected
    with pytest.raises(BadInput, match="data.val_fraction: without an experiment"):
        about(tmp_path / "out", "data.val_fraction=0.3")


def test_other_text_is_refused_by_digest(placed, tmp_path):
    """Under another path and under its own."""
    _, stored, _ = placed
    other = write_text(tmp_path / "other", seed=1)
    asked = at(tmp_path, tmp_path / "out", other, "grid.budgets=[1e8]")
    with pytest.raises(BadInput, match=f"data_digest: .*, this sweep has {stored.data_digest}"):
        sweep.run(asked)
    shutil.rmtree(tmp_path / "text")
    other.rename(tmp_path / "text")
    with pytest.raises(BadInput, match=f"data_digest: .*, this sweep has {stored.data_digest}"):
        sweep.run(about(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("trials/*/record.json"))


def test_a_damaged_shard_stops_the_sweep_before_a_trial(placed, tmp_path):
    _, stored, _ = placed
    [shard] = tmp_path.glob("shards/files-*/train_000000.bin")
    with shard.open("r+b") as file:
        file.seek(9000)
        file.write(bytes(4096))
    with pytest.raises(BadInput, match="train_000000.bin: found sha256"):
        sweep.run(about(tmp_path / "out"))
    assert not (tmp_path / "out/trials").exists()


def test_extend_by_another_path_keeps_the_trials_that_are_there(placed, tmp_path):
    """Another budget is added; the trials planned before keep their ids, and none is stale."""
    _, stored, _ = placed
    (tmp_path / "text").rename(tmp_path / "moved")
    words = ("grid.budgets=[1e8,2e8]", "extend=true")
    asked = at(tmp_path, tmp_path / "out", tmp_path / "moved", *words)
    both = sweep.plan_sweep(asked, None)
    before, after = ({t.id for t in s.plan.trials} for s in (stored, both))
    assert before < after and both.stale == ()
    assert {t.config.data.path for t in both.plan.trials} == {stored.plan.base.data.path}


def test_merge_takes_trials_of_equal_data_from_elsewhere_as_the_same(placed, tmp_path):
    """Two sweeps on two machines: trials of both count once, and the merged one goes on."""
    asked, stored, _ = placed
    shutil.copytree(tmp_path / "text", tmp_path / "mount/text")
    words = ("grid.budgets=[1e8,2e8]", f"runtime.data_dir={tmp_path / 'other'}")
    theirs = at(tmp_path, tmp_path / "b", tmp_path / "mount/text", *words)
    planned = sweep.plan_sweep(theirs, None)
    assert not {t.id for t in planned.plan.trials} & {t.id for t in stored.plan.trials}
    done = digests(work(theirs, planned))
    merged, differences = merge([tmp_path / "out", tmp_path / "b"], tmp_path / "c")
    assert differences == []
    assert len(merged.plan.trials) == len(planned.plan.trials) == 4 and merged.stale == ()
    assert {t.id for t in stored.plan.trials} < {t.id for t in merged.plan.trials}
    states = trial_states.read_states(tmp_path / "c", merged.plan)
    assert {s.state for s in states} == {"done"}
    assert {s.record.weights_digest for s in states} == set(done.values())
    for state in states:
        folder = trial_states.trial_folder(tmp_path / "c", state.trial)
        assert read_config(folder).data == stored.plan.base.data
        assert read_record(folder).dataset == stored.plan.base.data.name
    assert len(read_sweep(tmp_path / "c")) == 4
    assert [s.state for s in sweep.run(about(tmp_path / "c"))] == ["done"] * 4  # nothing to do
    again, differences = merge([tmp_path / "c", tmp_path / "b"], tmp_path / "d")
    assert differences == [] and again.plan.trials == merged.plan.trials


def test_merge_refuses_other_data_of_the_same_path(placed, tmp_path):
    _, stored, _ = placed
    shutil.rmtree(tmp_path / "text")
    write_text(tmp_path / "text", seed=1)
    other = sweep.plan_sweep(at(tmp_path, tmp_path / "b", tmp_path / "text"), None)
    assert json.loads((tmp_path / "b/plan.json").read_text())["data_digest"] == other.data_digest
    with pytest.raises(BadInput, match=f"data_digest: found {other.data_digest}, expected"):
        merge([tmp_path / "out", tmp_path / "b"], tmp_path / "c")


def test_ready_shards_may_move_too(tmp_path):
    """Links to them are made anew, and their content is digested again."""
    asked, stored = place(tmp_path, tmp_path / "out", "grid.budgets=[1e8]")
    [made] = tmp_path.glob("shards/files-*")
    shutil.copytree(made, tmp_path / "ready")
    words = ("grid.budgets=[1e8]", "data=shards", "data.tokenizer=bytes")
    first = at(tmp_path, tmp_path / "a", tmp_path / "ready", *words)
    planned = sweep.plan_sweep(first, None)
    assert planned.data_digest == stored.data_digest
    (tmp_path / "ready").rename(tmp_path / "moved")
    assert ready_shards.shard_files(tmp_path / "moved")
    states = sweep.run(at(tmp_path, tmp_path / "a", tmp_path / "moved", *words))
    assert [state.state for state in states] == ["done"] * 2
    with pytest.raises(BadInput, match="data.path: .*ready: found no such folder"):
        sweep.run(about(tmp_path / "a"))
