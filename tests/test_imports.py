"""Imports run one way, no two files import each other, and what must be light imports no torch."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from tests.support.import_graph import imports, modules

ROOT = Path(__file__).resolve().parent.parent

# Every room with the rooms that it may import beside itself: those above it in this order, less
# those named. A file belongs to the innermost room that contains it.
ORDER = (
    ("common", ()),
    ("configs", ()),
    ("model", ()),
    ("data", ("model",)),
    ("data.prepare", ("model",)),
    ("training", ()),
    ("scaling.fit", ()),
    ("scaling.report", ()),
    ("scaling.plan", ("scaling.report",)),
    ("scaling.run", ("scaling.report",)),
    ("benchmarks", ()),
)
# Inside scaling.fit: what the estimators may share, and what may know of them.
FIT_ORDER = (
    *("numerics", "table", "isoflop", "parametric", "envelope", "other_laws", "multiplier"),
    "checks",
)
ENTRIES = {"train", "sweep", "fit"}


def room(name: str) -> str:
    """The innermost room of a module."""
    return max((r for r, _ in ORDER if f"{name}.".startswith(f"{r}.")), key=len, default="scaling")


@pytest.mark.parametrize("name", modules())
def test_imports_run_one_way(name):
    places = [r for r, _ in ORDER]
    barred = dict(ORDER)
    for other in imports(modules()[name]):
        assert other.split(".")[0] not in ENTRIES, f"{name} imports the script {other}"
        if other not in modules() or room(name) == "scaling":
            continue
        here, there = room(name), room(other)
        assert places.index(there) <= places.index(here), f"{here} must not import {other}"
        assert there not in barred[here], f"{here} must not import {other}"


@pytest.mark.parametrize("name", [n for n in modules() if n.startswith("scaling.fit.")])
def test_imports_of_estimators_run_one_way(name):
    """Estimators know neither each other, but in the order of FIT_ORDER, nor what checks them."""
    own = name.split(".")[2]
    for other in imports(modules()[name]):
        part = other.removeprefix("scaling.fit.").split(".")[0]
        if own in FIT_ORDER and part in FIT_ORDER:
            assert FIT_ORDER.index(part) <= FIT_ORDER.index(own), f"{name} imports {other}"


def test_imports_have_no_circle():
    """Each strongly connected component of the files' imports is one file."""
    names = list(modules())
    edges = np.zeros((len(names), len(names)), bool)
    for row, name in enumerate(names):
        for other in imports(modules()[name]) & set(names) - {name}:
            edges[row, names.index(other)] = True
    count, label = connected_components(edges, connection="strong")
    circles = [
        [names[i] for i in np.flatnonzero(label == component)]
        for component in range(count)
        if (label == component).sum() > 1
    ]
    assert not circles


def test_files_and_folders_are_small():
    """A file holds at most 300 lines, and a folder of the product at most 20 files."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a checkout of git")
    paths = [ROOT / name for name in listed.stdout.split()]
    lines = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in paths}
    assert [name for name, count in lines.items() if count > 300] == []
    folders = Counter(str(Path(name).parent) for name in lines if not name.startswith("tests"))
    assert [name for name, count in folders.items() if count > 20] == []


def test_only_run_trial_calls_the_trainer():
    callers = {
        name
        for name, path in modules().items()
        if name.startswith("scaling.") and "training.loop" in imports(path)
    }
    assert callers == {"scaling.run.workers.run_trial"}


LIGHT = [
    "fit",
    "model.config, model.flops, data.config, training.config",
    "scaling.fit, scaling.fit.observations",
    "scaling.plan.grid, scaling.plan.cost, scaling.plan.ladder, scaling.plan.rules",
    "scaling.plan.table",
    "scaling.report.document",
    "scaling.run.store, scaling.run.trial_states",
]


@pytest.mark.parametrize("names", LIGHT)
def test_light_modules_import_no_torch(names):
    code = f"import sys, {names}; print([m for m in ('torch', 'wandb') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_tree_tracks_nothing_that_it_ignores():
    """A tracked `.venv` would replace the environment of every checkout that takes it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a checkout of git")
    assert listed.stdout.split() == []


def test_the_strict_loader_needs_no_hydra():
    names = "configs.schema, data.manifest, training.trial.record, scaling.fit.pipeline"
    code = f"import sys, {names}; print([m for m in ('hydra', 'omegaconf') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
