"""The page of one run says how it ended or where it stands, from the files of its folder alone."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import BadInput
from model.config import GPTConfig
from scaling.report.published_runs import LLM_C, published_run
from scaling.report.run_page import by_position, headline, render_run, write_run_page
from tests.support.tiny_training import prepared_config, tiny_config, train_once
from tests.support.train_command import entry
from training.trial.folder import read_config, write_config
from training.trial.metrics import MetricsLog

ROOT = Path(__file__).resolve().parent.parent


def _row(step: int, **more: float) -> dict[str, float]:
    tokens = 128 * step
    return {
        "step": step,
        "tokens": tokens,
        "flops": 1e4 * tokens,
        "loss": 5 - step / 10,
        "lr": 1e-3,
        "grad_norm": 1.0,
        "tokens_per_s": 1000.0,
        "time": 0.0,
    } | more


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """A folder of a run that trains: 4 of 6 steps are logged."""
    folder = tmp_path / "run<i>"
    write_config(folder, tiny_config(tmp_path))
    kept = folder / "attempt-001" / "checkpoints" / "step-00000002"
    kept.mkdir(parents=True)
    (kept / "for-good").touch()
    log = MetricsLog(folder / "attempt-001")
    for step in range(1, 5):
        log.write(_row(step, **({"val_loss": 4.75} if step == 4 else {})))
    log.close()
    return folder


def test_a_run_that_trains_says_where_it_stands(trial: Path) -> None:
    page = render_run(trial)
    assert "Training loss 4.600 nats after 512 tokens, 67% of 768." in page
    assert "4.7500 after 512 tokens" in page and "1,000 tokens/s" in page
    assert "attempt-001/step-00000002" in page and "for good" in page
    assert "Training run run&lt;i&gt;" in page and "<i>" not in page.split("<script", 1)[0]
    assert 'id="figure-losses"' in page and 'id="figure-speed"' in page
    assert "default-src 'none'" in page


def test_zero_shot_results_in_the_folder_are_shown(trial: Path) -> None:
    """As training.zero_shot out=RUN/zero_shot.json writes them; a damaged file is named."""
    path = trial / "zero_shot.json"
    path.write_text(json.dumps({"lambada": {"acc": 0.3256, "perplexity": 40.06}}))
    page = render_run(trial)
    assert "zero_shot.json" in page and "0.3256" in page and "40.0600" in page
    for damaged in ("[1]", '{"lambada": {"acc": "<b>"}}', '{"lambada": "x"}', "{"):
        path.write_text(damaged)
        with pytest.raises(BadInput, match="zero_shot.json"):
            render_run(trial)


def test_a_run_that_has_logged_nothing_has_a_page(tmp_path: Path) -> None:
    write_config(tmp_path / "new", tiny_config(tmp_path))
    page = render_run(tmp_path / "new")
    assert "Nothing is logged yet." in page and "is not drawn: nothing is logged yet" in page


def test_a_run_that_is_done_shows_its_loss_by_position(tmp_path: Path) -> None:
    """Kaplan's figure 7: eight ranges of a context of 16, whose weighted mean is the loss."""
    config = prepared_config(tmp_path)
    record = train_once(config, tmp_path / "run")
    write_config(tmp_path / "run", config)
    chart = by_position(record, "byte")
    assert chart.absent is None and chart.panels[0].x.label.startswith("position in context")
    points = chart.panels[0].series[1]
    assert list(points.x) == [1, 2, 3, 4, 6, 8, 12, 16]
    assert [text.split("</b>")[0] for text in points.text[2:6]] == [
        "<b>position 3",
        "<b>position 4",
        "<b>5 to 6",
        "<b>7 to 8",
    ]
    lengths = np.diff([0, *points.x])
    assert np.average(points.y, weights=lengths) == pytest.approx(record.loss, rel=1e-6)
    assert 'id="plot-positions"' in render_run(tmp_path / "run")
    assert "of a run that is done" in str(by_position(None, "byte").absent)
    for odd in (None, ()):
        without = replace(record, loss_by_position=odd)
        assert by_position(without, "byte").absent == "its record has none"
    for odd in (((0, 2.0),), ((1, 0.0),), ((1, -2.0), (2, 1.0)), ((1, float("inf")),)):
        chart = by_position(replace(record, loss_by_position=odd), "byte")
        assert chart.absent and "not above 0" in chart.absent


def test_the_command_writes_the_page(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry("mode=page", f"out={trial}") == 0
    assert (trial / "run.html").stat().st_size > 1e6
    assert "run.html" in capsys.readouterr().out
    assert entry("mode=page") == 2
    assert "as out=runs/gpt2" in capsys.readouterr().err
    assert entry("mode=page", f"out={trial.parent / 'none'}") == 2


def test_a_page_that_cannot_be_written_is_the_users_error(trial: Path) -> None:
    (trial / "run.html").mkdir()
    with pytest.raises(BadInput, match="the page is written there"):
        write_run_page(trial)


def test_a_run_is_set_beside_the_curve_of_its_recipe(tmp_path: Path) -> None:
    tiny = tiny_config(tmp_path)
    small = GPTConfig(12, 12, 768, block_size=1024, vocab_size=50257, init_std=0.02)
    data = {name: replace(tiny.data, path=f"data/{name}") for name in ("fineweb10B", "edu_fineweb")}
    assert published_run(small, data["fineweb10B"]) is LLM_C
    assert published_run(small, data["edu_fineweb"]) is None
    assert published_run(small, tiny.data) is None
    assert published_run(tiny.model, data["fineweb10B"]) is None


def test_the_published_curve_is_that_of_the_documentation() -> None:
    page = (ROOT / "docs/reproduce-124m.md").read_text()
    (steps,) = re.findall(r"^\| step \| (.*) \|$", page, re.MULTILINE)
    (losses,) = re.findall(r"^\| held-out loss \| (.*) \|$", page, re.MULTILINE)
    assert tuple(int(s.replace(",", "")) for s in steps.split(" | ")) == LLM_C.steps
    assert tuple(float(x) for x in losses.split(" | ")) == LLM_C.losses


def test_headline_of_a_folder_is_read_from_its_files(trial: Path) -> None:
    assert headline(read_config(trial), None, []) == "Nothing is logged yet."
