"""sweep.py mode=plan: cost and precision, with nothing written into `out`."""

import sweep
from configs.cli import run_entry
from scaling.run import planning
from tests.support.pretended_gpus import pretend_gpus
from tests.support.tiny_sweep import overrides
from tests.support.typed import last_of_each


def call(*argv: str) -> int:
    return run_entry(sweep.main, "sweep", "", argv)


def test_plan_mode_states_cost_and_leaves_out_alone(tmp_path, capsys):
    """Plan tells the cost and prepares data but leaves out alone."""
    out = tmp_path / "out"
    assert call(*overrides(tmp_path, out, "mode=plan", "launcher.price_per_hour=3600")) == 0
    text = capsys.readouterr().out
    assert "4 trials in 4 cells, 6e+08 FLOP" in text and "predicted" in text and "+-" in text
    assert "price: " in text and not out.exists()
    assert list((tmp_path / "shards").rglob("manifest.json"))


def test_plan_mode_for_stated_machine_needs_no_data(tmp_path, capsys):
    """A plan for a machine that is not here needs no data and no measurement."""
    line = overrides(tmp_path, tmp_path / "out")
    stated = ["mode=plan", "launcher.device=H200", "launcher.devices=64", "data.path=/not/there"]
    assert call(*last_of_each(*line, *stated, "launcher.price_per_hour=3")) == 0
    text = capsys.readouterr().out
    assert "with 64 at a time" in text and "measuring" not in text
    assert "data: /not/there is not prepared, epochs are not checked" in text
    assert "time: H200 at 40% of its" in text and "in 151 GB" in text
    assert "price: " in text and "64 devices" in text and "isoflop     fitted in 0%" in text
    assert call(*line, "mode=plan", "launcher.device=abacus") == 2
    assert "launcher.device: found 'abacus'" in capsys.readouterr().err


def test_plan_mode_starts_nothing_on_gpus(tmp_path, capsys, monkeypatch):
    """On a machine with GPUs of a known kind times are by their data sheet: nothing is measured."""
    asked = pretend_gpus(tmp_path, monkeypatch, "NVIDIA H200", count=8)
    monkeypatch.setattr(planning, "measure", refuse)
    words = ("experiment=isoflop_s", f"runtime.data_dir={tmp_path / 'data'}")
    assert call(*words, "mode=plan", "foresight.simulations=40") == 0
    text = capsys.readouterr().out
    assert "time: NVIDIA H200 at 40% of its bf16 peak" in text and "with 8 at a time" in text
    assert "shapes of 45 s (estimated)" in text and "in 151 GB" in text
    assert all(word.startswith("--query-gpu=") for word in asked.read_text().split())
    assert not (tmp_path / "data").exists()


def test_plan_mode_measures_no_gpu_that_it_does_not_know(tmp_path, capsys, monkeypatch):
    """Of another kind no time is said, and how to have one is."""
    pretend_gpus(tmp_path, monkeypatch, "Abacus 3000")
    monkeypatch.setattr(planning, "measure", refuse)
    words = ("experiment=isoflop_s", f"runtime.data_dir={tmp_path / 'data'}")
    assert call(*words, "mode=plan", "foresight.simulations=40") == 0
    assert "or say mode=measure" in capsys.readouterr().out


def test_plan_mode_refuses_text_that_is_not_there(tmp_path, capsys, monkeypatch):
    """Here the trials need their text, whether there are GPUs or not; elsewhere it may be there."""
    line = overrides(tmp_path, tmp_path / "out")
    missing = ("mode=plan", "data.path=/not/there", "runtime.device=auto")
    for gpus in (False, True):
        if gpus:
            pretend_gpus(tmp_path, monkeypatch, "NVIDIA H200")
        assert call(*last_of_each(*line, *missing)) == 2
        assert "data.path: /not/there: found no such file or folder" in capsys.readouterr().err


def test_measure_mode_measures_gpus_and_no_other_machine(tmp_path, capsys, monkeypatch):
    """mode=measure is the one that starts steps on a GPU; a stated machine is not here."""
    pretend_gpus(tmp_path, monkeypatch, "NVIDIA H200", count=2)
    found = []

    def measured(plan, processes, runtime, launcher, data, packing):
        found.append((len(processes), runtime.device, data))

    monkeypatch.setattr(planning, "measure", measured)
    words = ("experiment=isoflop_s", "mode=measure", "foresight.simulations=40")
    words = (*words, f"runtime.data_dir={tmp_path / 'data'}")
    assert call(*words) == 0
    assert found == [(2, "cuda", None)]
    assert call(*words, "launcher.device=H200") == 2
    assert "launcher.device: found with mode=measure" in capsys.readouterr().err


def refuse(*_):
    raise AssertionError("measured")
