"""Imports run one way, and what must be light imports no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("configs", "model", "data", "training", "scaling", "benchmarks")

# What each room may import of the project; `configs` (config, errors, files) lies below all.
ALLOWED = {
    "configs": {"configs"},
    "model": {"configs", "model"},
    "data": {"configs", "data"},
    "training": {"configs", "model", "data", "training"},
    "scaling": {"configs", "model", "data", "training", "scaling"},
    "benchmarks": {"configs", "model", "data", "training", "scaling", "benchmarks"},
}
# Inside scaling: fit < plan < run, and fit < report.
SCALING = {
    "scaling.fit": {"scaling.fit"},
    "scaling.plan": {"scaling.fit", "scaling.plan"},
    "scaling.report": {"scaling.fit", "scaling.report"},
    "scaling.run": {"scaling.fit", "scaling.plan", "scaling.run"},
}
ENTRIES = {"train", "sweep", "fit"}


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Names of modules imported anywhere in a file, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    place = ".".join(path.relative_to(ROOT).parts[:2]).removesuffix(".py")
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in ENTRIES, f"{path.name} imports the script {name}"
        if top in ROOMS:
            assert top in ALLOWED[room], f"{room} must not import {name}"
        if top == "scaling" and place in SCALING and name != "scaling":
            inner = ".".join(name.split(".")[:2])
            assert inner in SCALING[place], f"{place} must not import {name}"


def test_only_who_executes_a_trial_calls_the_trainer():
    callers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "scaling").rglob("*.py")
        if any(name.startswith("training.loop") for name in imports(path))
    }
    assert callers <= {"scaling/run/execution.py"}


LIGHT = [
    "fit",
    "model.config, model.flops, data.config, training.config",
    "scaling.fit, scaling.fit.observations",
    "scaling.plan.grid, scaling.plan.cost, scaling.plan.ladder, scaling.plan.rules",
    "scaling.plan.table",
    "scaling.report.document",
    "scaling.run.store",
]


@pytest.mark.parametrize("names", LIGHT)
def test_light_modules_import_no_torch(names):
    code = f"import sys, {names}; print([m for m in ('torch', 'wandb') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
