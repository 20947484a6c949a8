"""The costs beside the steps are measured on the real thing, whatever their size."""

import re

import pytest

from benchmarks import run_costs
from training import checkpointer
from training.trial import checkpoint


@pytest.mark.slow
def test_run_costs_prints_every_figure(capsys, monkeypatch):
    """Every figure is there."""
    monkeypatch.setattr(checkpointer, "BACKGROUND_BYTES", checkpointer.BACKGROUND_BYTES)
    save, saved = checkpoint.save, []
    monkeypatch.setattr(checkpoint, "save", lambda *words: saved.append(save(*words)))
    run_costs.main(["tiny", "--steps", "2", "--starts", "1", "--shard-tokens", "100000"])
    model, start, check = capsys.readouterr().out.splitlines()
    step_ms, batch_ms, megabytes = (
        float(found) for found in re.findall(r"([\d.]+) (?:ms|MB)", model)
    )
    assert 0 < batch_ms < step_ms and megabytes == 10  # 3 x 4 bytes of each of 0.8M weights
    assert len(re.findall(r"% of 60 s|by a thread \(", model)) == 2
    found = re.fullmatch(r"start to first step: ([\d.]+) \(.*\) s; data prepared .* s", start)
    assert len(set(saved)) == 10  # none was refused
    assert found and float(found[1]) > 0.5
    assert re.match(r"checking a shard of 0.2 MB: first [\d.]+ s, at a start ", check)
