"""The command as a whole: its mistakes in one line each, its display, several ranks."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import BadInput
from model.checkpoint_io import read_sealed, write_sealed
from tests.support.tiny_training import prepared_config, train_once
from training.zero_shot import __main__ as command

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("name", "found"), [
    ("nowhere", "found no such folder, expected a folder"),
    ("text.txt", "found a file, expected a folder with hellaswag_val.jsonl"),
    ("", "found no hellaswag_val.jsonl or hellaswag_val.jsonl.xz in it; put it there, or"),
])  # fmt: skip
def test_zero_shot_tells_missing_data_with_the_remedy(tmp_path, name, found) -> None:
    """Missing data are told with the remedy."""
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises(BadInput, match=f"^data: .*{found}"):
        command._file(tmp_path / name, "hellaswag_val.jsonl")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> tuple[Path, Path]:
    """A tiny trial over bytes, and a folder of tasks."""
    folder = tmp_path_factory.mktemp("zero_shot")
    train_once(prepared_config(folder), folder / "trial")
    data = folder / "data"
    data.mkdir()
    rows = [
        {"ctx": f"A man {i}", "activity_label": "Work", "label": i % 2, "endings": ["runs", "sits"]}
        for i in range(7)
    ]
    (data / "hellaswag_val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    passages = "".join(json.dumps({"text": f"one {i} two"}) + "\n" for i in range(5))
    (data / "lambada_test_openai.jsonl").write_text(passages)
    (data / "wikitext2_test_raw.txt").write_text("words of a text\n" * 30)
    return folder / "trial", data


def test_zero_shot_on_two_ranks_equals_one(evaluation, tmp_path):
    """Two ranks say what one says."""
    trial, data = evaluation
    words = [f"checkpoint={trial}", f"data={data}", "device=cpu"]
    module = ["-m", "training.zero_shot", *words]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    found = []
    for name, launcher in {"one": [], "two": torchrun}.items():
        out = tmp_path / f"{name}.json"
        command = [sys.executable, *launcher, *module, f"out={out}"]
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        assert "GPT-2's table 3" in ended.stdout
        found.append(json.loads(out.read_text()))
    assert found[0].keys() == {"hellaswag", "lambada", "wikitext2"}
    for task, measures in found[0].items():
        assert found[1][task] == pytest.approx(measures, rel=1e-6)


@pytest.mark.parametrize("name", ["there.json", ".", "file/x.json", "gone/file/x.json", "x" * 300])
def test_zero_shot_refuses_an_out_before_the_work(evaluation, tmp_path, monkeypatch, name):
    """An out that cannot be written is refused before anything is computed."""
    trial, data = evaluation
    (tmp_path / "gone").mkdir()
    for path in ("there.json", "file", "gone/file"):
        (tmp_path / path).write_text("kept")
    monkeypatch.setattr(command, "score", lambda *_: pytest.fail("computed"))
    words = [f"checkpoint={trial}", f"data={data}", f"out={tmp_path / name}"]
    with pytest.raises(BadInput, match="^out: ") as caught:
        command.main(words)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "there.json").read_text() == "kept"


def test_zero_shot_refuses_weights_that_are_no_numbers(evaluation, tmp_path):
    """Weights that give no numbers are refused, and nothing is written."""
    trial, data = evaluation
    newest = sorted(trial.glob("attempt-*/checkpoints/step-*"))[-1]
    meta, state = read_sealed(newest)
    state["model"]["ln_f.bias"][0] = math.nan
    (tmp_path / "broken").mkdir()
    write_sealed(tmp_path / "broken", meta, state)
    words = [f"checkpoint={tmp_path / 'broken'}", f"data={data}", f"out={tmp_path / 'x.json'}"]
    with pytest.raises(BadInput, match="broken: found likelihoods that are no numbers"):
        command.main([*words, "tasks=[lambada]"])
    assert not (tmp_path / "x.json").exists()


def test_zero_shot_shows_how_far_it_is_on_a_terminal_alone(evaluation, monkeypatch, capsys):
    """A terminal has a line with the share that is done; a file has none of it."""
    trial, data = evaluation
    words = [f"checkpoint={trial}", f"data={data}", "tasks=[lambada]"]
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes rich take a file for a terminal
    monkeypatch.setenv("TERM", "xterm")
    command.main(words)
    assert capsys.readouterr().err.splitlines() == ["lambada: 5 continuations to score"]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    command.main(words)
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("words, complaint", [
    (["data=D", "text=T"], "data: give either"),
    ([], "data: give either"),
    (["data=/no/such"], "data: /no/such: found no such folder, expected a folder"),
    (["data=D", "tasks=[mmlu]"], "tasks"),
    (["data=D", "tasks=[lambada,lambada]"], "tasks: found"),
    (["data=D", "limit=0"], "zero_shot.limit: found 0"),
    (["text=/no/such.txt"], "/no/such.txt: not found"),
    (["data=D", "device=tpu"], "runtime.device"),
])  # fmt: skip
def test_zero_shot_says_each_mistake_in_one_line(evaluation, words, complaint):
    """Each mistake is one line."""
    trial, data = evaluation
    words = [word.replace("data=D", f"data={data}") for word in words]
    with pytest.raises(BadInput, match=f"^{complaint}") as caught:
        command.main([f"checkpoint={trial}", *words])
    assert "\n" not in str(caught.value)


def test_zero_shot_names_the_file_of_a_text_without_ids(evaluation, tmp_path):
    """A byte model has no id for NUL."""
    (tmp_path / "x.txt").write_text("begin and\0end")
    with pytest.raises(BadInput, match="x.txt: found a NUL .* that begins 'begin and") as caught:
        command.main([f"checkpoint={evaluation[0]}", f"text={tmp_path}/x.txt", "device=cpu"])
    assert "\n" not in str(caught.value)
