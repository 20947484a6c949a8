"""Output in signs that its reader has, and a Python without the packages: one line each."""

import io
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from common import terminal

ROOT = Path(__file__).resolve().parent.parent
NARROW = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "a locale of ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.fixture
def signs(monkeypatch):
    """What a text becomes on a terminal of some encoding."""

    def show(text: str, encoding: str) -> str:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        terminal.fit_streams()
        print(text, end="", flush=True)
        return raw.getvalue().decode(encoding)

    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    return show


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("10²⁰ · 3×10⁻⁴ ± 1", "ascii", "10^20 . 3x10^-4 +- 1"),
        ("█▇▁ ✓ α…", "latin-1", "##_ ok alpha..."),
        ("Müller 文", "latin-1", "Müller \\u6587"),
        ("Müller 文", "ascii", "M\\xfcller \\u6587"),
        ("Müller 文 █", "utf-8", "Müller 文 █"),
        ("a name of no text \udcff", "utf-8", "a name of no text \\udcff"),
    ],
)
def test_fit_streams_shows_the_nearest_signs(signs, text, encoding, shown):
    assert signs(text, encoding) == shown


def test_fit_streams_serves_child_processes(signs):
    """What they print reaches their logs, whatever it is."""
    signs("", "ascii")
    assert os.environ["PYTHONIOENCODING"] == "ascii:backslashreplace"
    child = subprocess.run([sys.executable, "-c", "print('文')"], capture_output=True, check=True)
    assert child.stdout == b"\\u6587\n"


@pytest.mark.parametrize("narrow", NARROW)
def test_commands_print_on_a_narrow_terminal(tmp_path, narrow):
    """A plan with its drawing of the schedule, and a message that repeats what was typed."""
    environment = {**os.environ, **NARROW[narrow]}
    lines = [(["sweep.py", "--help"], 0), (["fit.py", f"runs={tmp_path}/é文.csv"], 2)]
    if narrow == "ascii":
        lines.append((["train.py", "experiment=smoke", "mode=plan"], 0))
    for words, status in lines:
        ended = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True
        )
        assert ended.returncode == status, ended.stderr
        assert b"Traceback" not in ended.stderr and len(ended.stdout + ended.stderr) > 20


def test_fit_reads_and_writes_names_outside_the_locale(tmp_path):
    """A table whose name an ASCII locale cannot spell is fitted, and named whole in fit.json."""
    table = tmp_path / "données.csv"
    rows = [
        f"{n},{d},{2 + 400 * n**-0.34 + 400 * d**-0.28}" for n in (1e7, 1e8) for d in (1e9, 9e9)
    ]
    table.write_text("\n".join(["params,tokens,loss", *rows]))
    ended = subprocess.run(
        [sys.executable, "fit.py", f"runs={table}", f"out={tmp_path}/out", "laws=[kaplan]"],
        cwd=ROOT,
        env={**os.environ, **NARROW["a locale of ascii"]},
        capture_output=True,
    )
    assert b"Traceback" not in ended.stderr, ended.stderr
    assert "données.csv" in (tmp_path / "out/fit.json").read_text(encoding="utf-8")


COMMANDS = (
    *("train.py", "sweep.py", "fit.py", "-m data.prepare", "-m training.sample"),
    *("-m training.zero_shot", "-m model.pretrained", "-m scaling.run.merge"),
    *("-m benchmarks.throughput", "-m benchmarks.curves", "-m scaling.run.store"),
)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_python_without_the_packages_ends_in_one_line(bare_python, command):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    line = [str(bare_python), *command.split(), "runs=x"]
    ended = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and "make install" in ended.stderr, ended.stderr
    assert ".venv/bin/python" in ended.stderr and ended.stdout == ""
