"""The command prepares what a run trains on, or a source with its own fields."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from data.config import DataConfig
from data.prepare import prepare
from tests.support.tiny_corpus import prepare_command, tiny_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> DataConfig:
    return tiny_corpus(tmp_path)


def test_requested_takes_defaults_from_the_group_of_its_source(tmp_path, corpus) -> None:
    for arguments, status, text in [
        (("source=files", "tokenizer=bytes"), 2, "data.path: found None, expected a path"),
        (("source=web",), 2, "source: found 'web', expected one of python, files, hf, shards"),
        (("sauce=files",), 2, "sauce: unknown key; did you mean source?"),
        (("source=files", f"path={corpus.path}", "tokenizer=bytes", "val_fraction=0.2"), 0, ""),
    ]:
        result = subprocess.run(
            prepare_command(*arguments, f"out={tmp_path / 'out'}"), capture_output=True, text=True
        )
        assert result.returncode == status
        assert text in result.stderr
        assert result.stderr.count("\n") == (status == 2)


def test_help_names_the_command_as_it_is_typed() -> None:
    done = subprocess.run(prepare_command("--help"), capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m data.prepare ")


def test_requested_is_what_an_experiment_trains_on(corpus, tmp_path) -> None:
    out = tmp_path / "out"
    given = ["data=files", f"data.path={corpus.path}", "data.tokenizer=bytes"]
    done = subprocess.run(
        prepare_command("experiment=smoke", *given, f"runtime.data_dir={out}"),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    [folder] = out.iterdir()
    assert prepare(replace(corpus, val_fraction=0.01), out) == folder
    assert list(out.iterdir()) == [folder]
    wrong = subprocess.run(prepare_command("experiment=smoke", "source=files"), capture_output=True)
    assert wrong.returncode == 2 and b"source: unknown key" in wrong.stderr
