"""What docs/contributing.md shows is all that it takes."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fit as entry
from common.errors import ExitStatus
from configs.cli import run_entry
from model.families import FAMILIES
from model.flops import params_allocated
from model.network import build_network
from model.pretrained import read_pretrained
from scaling.fit import registry
from scaling.fit.laws import PUBLISHED
from scaling.fit.results import FitDocument
from scaling.plan.ladder import rungs
from tests.support.fit_examples import isoflop_rows, write_csv
from tests.support.pages import blocks
from tests.support.tiny_training import prepared_config, train_once

PAGE = Path(__file__).resolve().parent.parent / "docs/contributing.md"
QUICK = "n_bootstrap=60"


def test_contributing_shows_how_to_add_a_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's file and entry are all that fit.py, fit.json and the report need."""
    page = PAGE.read_text(encoding="utf-8")
    module, registration, *_ = blocks(page, "python")
    (tmp_path / "compute_law.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.LAWS, "compute_law", None)  # taken out again at the end
    (tmp_path / "entry.py").write_text(registration)
    runpy.run_path(str(tmp_path / "entry.py"))
    surface = PUBLISHED["besiroglu"]
    rows = isoflop_rows(surface, np.geomspace(1e18, 1e22, 9), np.geomspace(0.25, 4, 7))
    table = write_csv(tmp_path / "runs.csv", rows)
    words = [f"runs={table}", "laws=[compute_law]", f"out={tmp_path / 'out'}", QUICK]
    assert run_entry(entry.main, "fit", "", words) == ExitStatus.DONE
    assert "compute_law" in capsys.readouterr().out
    law = FitDocument.read(tmp_path / "out" / "fit.json").laws["compute_law"]
    assert law.gamma.value == pytest.approx(surface.alpha * surface.a, rel=0.02)
    assert law.E.value == pytest.approx(surface.E, rel=0.01)


def test_contributing_shows_how_to_add_an_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's file and entry are all that training, counting and a ladder need."""
    *_, module, registration = blocks(PAGE.read_text(encoding="utf-8"), "python")
    (tmp_path / "shift.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FAMILIES, "shift", None)  # taken out again at the end
    (tmp_path / "entry.py").write_text(registration)
    runpy.run_path(str(tmp_path / "entry.py"))
    config = prepared_config(tmp_path, steps=2)
    config = replace(config, model=config.model.as_family("shift"))
    network = build_network(config.model, None)
    assert sum(p.numel() for p in network.parameters()) == params_allocated(config.model)
    assert {shape.family for shape in rungs("grow", config.model)} == {"shift"}
    record = train_once(config, tmp_path / "trial")
    assert record.status == "done" and record.family == "shift"
    assert read_pretrained(str(tmp_path / "trial")).config == config.model
