"""train.py mode=plan and mode=measure: what a run will take, before it is begun."""

import signal

import pytest

from tests.support.kill_harness import fork
from tests.support.train_command import entry, train_command


@pytest.fixture
def command(tmp_path):
    return train_command(tmp_path)


def test_plan_says_what_it_would_cost_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert entry("experiment=smoke", "mode=plan") == 0
    text = capsys.readouterr().out
    assert "11,712" in text and "9.664e+09" in text and "256" in text
    assert list(tmp_path.iterdir()) == []


def test_plan_says_hours_and_price_on_a_stated_machine(tmp_path, capsys, monkeypatch):
    """By the rule of sweep.py's plan; the ranks must divide the batch, and only a plan reads it."""
    monkeypatch.chdir(tmp_path)
    words = ("experiment=gpt2_124m", "mode=plan", "launcher.price_per_hour=3")
    found = {}
    for ranks in (1, 8):
        assert entry(*words, "launcher.device=h200", f"launcher.devices={ranks}") == 0
        rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
        found[ranks] = dict(row for row in rows if len(row) == 2)
    assert found[1]["device-hours"] == found[8]["device-hours"] == "5.6 +-50%"
    assert found[1]["price"].startswith("16.80 +-50%") and "5.6 h" in found[1]["price"]
    assert found[8]["time"] == "42.0 min +-50% on 8 devices"
    assert found[1]["data"].startswith("not prepared: 30.6 GB to fetch, 20.8 GB of shards")
    for wrong, said in (
        ("launcher.devices=7", "expected a multiple of the 7 ranks"),
        ("launcher.device=abacus", "expected one of GB200, B200, H200"),
        ("launcher.price_per_hour=-1", "launcher.price_per_hour: found -1"),
        ("launcher.lease_s=3", "launcher.lease_s: unknown key"),
        ("data.tokenizer=bytes", "vocab_size: found 50257, expected 256 for data.tokenizer=bytes"),
    ):
        assert entry(*words[:2], wrong) == 2
        assert said in capsys.readouterr().err
    assert entry("experiment=smoke", "launcher.device=H200") == 2
    assert "mode=plan" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_plan_refuses_weights_that_are_not_there(tmp_path, capsys, monkeypatch):
    """A path that is not there is refused; a name of the hub is said to be fetched, and is not."""
    monkeypatch.chdir(tmp_path)
    words = ("experiment=smoke", "mode=plan")
    for missing in ("/nosuch", "./nosuch", "runs/no/such"):
        assert entry(*words, f"init_from={missing}") == 2
        found = capsys.readouterr()
        assert found.err == f"error: init_from: {missing}: not found\n" and found.out == ""
    assert entry(*words, "init_from=runs/nosuch") == 0
    assert "runs/nosuch: no such folder here; a model of the hub" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_plan_says_that_data_are_not_here(capsys):
    """A plan needs no data, and says that these are not where the config looks."""
    words = ("data=files", "data.path=/not/there", "data.tokenizer=bytes")
    assert entry("experiment=smoke", "mode=plan", *words) == 0
    assert "not here, not prepared" in capsys.readouterr().out


def test_measure_killed_leaves_nothing_for_long(tmp_path, monkeypatch):
    """The random tokens of a measurement that was killed go with the next one."""
    monkeypatch.setattr("training.throughput.MEASURE_S", 600)
    call = train_command(tmp_path)
    words = ("data.path=/not/there", f"runtime.data_dir={tmp_path / 'data'}", "mode=measure")
    (tmp_path / "data").mkdir()
    child = fork(lambda: call(*words), tmp_path / "log")
    child.until(lambda: list(tmp_path.glob("data/random-*/*/manifest.json")))
    child.kill(signal.SIGKILL)
    child.wait()
    assert len(list(tmp_path.glob("data/random-*"))) == 1
    monkeypatch.setattr("training.throughput.MEASURE_S", 0.1)
    assert call(*words) == 0
    assert not list((tmp_path / "data").iterdir())


def test_measure_needs_no_data(command, tmp_path, capsys, monkeypatch):
    """A text that is not here, or yet on the hub, is measured on random tokens, which go again."""
    monkeypatch.setattr("training.throughput.MEASURE_S", 0.1)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    hub = "experiment=smoke", "data=hf", "data.hub.name=a/b", "data.tokenizer=bytes"
    for call, words in ((command, ["data.path=/not/there"]), (entry, hub)):
        assert call(*words, "mode=measure") == 0
        text = capsys.readouterr().out
        assert "tokens/s" in text and "random tokens: " in text
    assert not list(tmp_path.rglob("random-*")) and not list((tmp_path / "empty").iterdir())


def test_measure_says_how_fast_and_leaves_no_run(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("training.throughput.MEASURE_S", 0.1)
    assert command("mode=measure", f"out={tmp_path / 'out'}") == 0
    text = capsys.readouterr().out
    assert "tokens/s" in text and "MFU" in text and "MiB" in text and "first step" in text
    assert "8 sequences, plain loss head, flash attention" in text
    assert not (tmp_path / "out").exists()
