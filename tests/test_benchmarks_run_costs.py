"""The costs beside the steps are measured on the real thing, whatever their size."""

import re

from benchmarks import run_costs
from training import checkpoint, saving


def test_every_figure_is_there(capsys, monkeypatch):
    monkeypatch.setattr(saving, "BACKGROUND_BYTES", saving.BACKGROUND_BYTES)
    save, saved = checkpoint.save, []
    monkeypatch.setattr(checkpoint, "save", lambda *words: saved.append(save(*words)))
    run_costs.main(["tiny", "--steps", "2", "--starts", "1"])
    model, start = capsys.readouterr().out.splitlines()
    step_ms, batch_ms, megabytes = (
        float(found) for found in re.findall(r"([\d.]+) (?:ms|MB)", model)
    )
    assert 0 < batch_ms < step_ms and megabytes == 10  # 3 x 4 bytes of each of 0.8M weights
    assert len(re.findall(r"% of 60 s|by a thread \(", model)) == 2
    found = re.fullmatch(r"start to first step: ([\d.]+) \(.*\) s; data prepared .* s", start)
    assert len(set(saved)) == 10  # none was refused
    assert found and 0.5 < float(found[1]) < 60
