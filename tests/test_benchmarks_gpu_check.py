"""The check of a GPU, tried on the CPU at toy sizes: all figures are there, the time is kept."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_benchmarks_throughput import checkout

from benchmarks.gpu_check import ceilings, packing, small_models, trainer, variants
from benchmarks.gpu_check.__main__ import Words, main
from benchmarks.gpu_check.context import Context, Findings
from benchmarks.gpu_check.part import BODIES, Body, body
from benchmarks.gpu_check.processes import Part
from benchmarks.gpu_check.report import write_report
from benchmarks.gpu_check.schedule import run_parts
from benchmarks.gpu_check.variants import VARIANTS, Variant
from common.errors import BadInput, ExitStatus
from common.files import read_json
from tests.support.pretended_gpus import place_mps
from tests.support.tiny_sweep import alive, eventually

ROOT = Path(__file__).resolve().parent.parent


def context_in(folder: Path, seconds: float = 300.0, peer: Path | None = None) -> Context:
    context = Context(str(folder), "cpu", True, time.time(), seconds, str(peer) if peer else None)
    context.save()
    return context


def measured(part: Body, context: Context) -> Findings:
    """The findings of a part in this process, prepared and measured."""
    findings = Findings(context, "part")
    for _ in part(context, findings):
        pass
    assert read_json(context.path("part.json"))["rows"].keys() == findings.rows.keys()
    return findings


def test_ceilings_are_rates_and_errors_of_every_kernel(tmp_path: Path) -> None:
    rows = measured(ceilings.ceilings, context_in(tmp_path)).rows
    assert rows["copy"]["tb_per_s"] > 0 and rows["machine"]["device"].startswith("CPU")
    assert set(rows["product head"]) == {"forward", "of_inputs", "of_weights", "of_weights_by_bf16"}
    assert rows["attention ms, 12 heads"]["flash"] > 0
    usual = rows["attention errors, 16 positions, usual logits"]
    for kernel in ("flash", "math"):
        assert len(usual[kernel]) == 4 and all(error < 0.02 for error in usual[kernel])
    assert isinstance(usual["cudnn"], str)  # why it refuses


def test_attention_that_is_wrong_or_not_finite_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {"flash": [0.001, float("nan"), 0.0, 0.0], "math": [0.001] * 4, "cudnn": "no kernel"}
    monkeypatch.setattr(ceilings, "attention_errors", lambda *_: errors)
    findings = Findings(context_in(tmp_path), "part")
    ceilings._attention_errors(context_in(tmp_path), findings)
    lines = json.loads((tmp_path / "part.json").read_text())["lines"]
    assert lines == [
        f"attention, 16 positions, {kind}: WRONG flash"
        for kind in ("usual logits", "logits of -120")
    ]


def test_variants_are_timed_in_turn_and_one_that_fails_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = VARIANTS[0], Variant("lacking", model={"unknown": 1}), VARIANTS[3]
    monkeypatch.setattr(variants, "VARIANTS", chosen)
    (tmp_path / "peer").mkdir()
    context = context_in(tmp_path, peer=checkout(tmp_path / "peer", error=0.0))
    rows = measured(variants.variants, context).rows
    assert "unknown" in rows["lacking"]["failed"] and "tokens_per_s" not in rows["lacking"]
    for name in ("nanoGPT", "ours", "ours, no mix-order", "ours, bf16 partial sums"):
        assert rows[name]["tokens_per_s"] > 0 and rows[name]["steps"] >= 5
    losses = [rows[name]["losses"][0] for name in ("nanoGPT", "ours", "ours, no mix-order")]
    assert losses[1] == losses[2]
    assert losses[0] - losses[1] == pytest.approx(math.log(128 / 120), abs=0.02)  # its padded rows


def test_variants_have_graphs_of_their_own() -> None:
    """One code object would be one cache, with kernels that no guard tells apart."""
    kinds = [variants.own_graphs(name) for name in ("a", "b")]
    assert len({kind.forward.__code__ for kind in kinds}) == 2


def test_trainer_says_what_set_up_and_steps_took(tmp_path: Path) -> None:
    (row,) = measured(trainer.trainer, context_in(tmp_path)).rows.values()
    assert row["tokens_per_s"] == pytest.approx(512 / row["step_s"])
    assert row["first_step_s"] > 0 and row["second_step_s"] > 0 and row["peak_gib"] > 0


def test_small_models_are_timed_in_each_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_models, "MODELS", {"3m": small_models.MODELS["3m"]})
    rows = measured(small_models.small_models, context_in(tmp_path)).rows
    for way in ("compiled", "eager"):
        row = rows[f"3m, {way}"]
        assert 0 < row["launch_s"] <= row["step_s"] * 1.5 and row["loss"] < 6
    assert "no CUDA graphs" in rows["3m, graph"]["skipped"]


def test_packed_trials_take_turns_or_share_under_a_daemon_that_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_mps(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("MPS_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(packing, "AT_ONCE", (1,))
    monkeypatch.setattr(packing, "WINDOW_S", 100.0)  # a busy machine answers late
    rows = measured(packing.packing, context_in(tmp_path, 3000.0)).rows
    assert rows.pop("sharing")["mps"]
    assert set(rows) == {"1 in turns", "1 under MPS"}
    assert all(row["answers"] == 1 and row["tokens_per_s"] > 0 for row in rows.values())
    notes = (tmp_path / "notes").read_text().split()
    assert notes[0] == "start" and notes.count("quit") == 1


# A part without torch: `{do}` is what it does before it is ready, `{then}` as it is measured.
STAND_IN = """
import json, time
from pathlib import Path
work = Path({work!r})
{do}
(work / "{name}.ready").touch()
while not (work / "{name}.go").exists():
    time.sleep(0.01)
begin = time.time()
{then}
(work / "{name}.span").write_text(json.dumps([begin, time.time()]))
"""


def stand_in(
    work: Path, name: str, do: str = "", then: str = "time.sleep(0.3)", measure_s: float = 2.0
) -> Part:
    code = STAND_IN.format(work=str(work), name=name, do=do, then=then)
    return Part(name, ("-c", code), measure_s)


def test_what_is_measured_is_alone_and_what_fails_ends_nothing_else(tmp_path: Path) -> None:
    hang = f"import os; Path({str(tmp_path)!r}, 'pid').write_text(str(os.getpid())); "
    parts = [
        Part("first", ("-c", "print('ceilings')"), is_first=True),
        Part("broken", ("-c", "raise SystemExit('2 tests failed')")),
        stand_in(tmp_path, "one"),
        stand_in(tmp_path, "falls", do="1 / 0"),
        stand_in(tmp_path, "hangs", then=hang + "time.sleep(1000)", measure_s=0.5),
        stand_in(tmp_path, "two"),
    ]
    said: list[str] = []
    context = context_in(tmp_path, 60.0)
    ended = run_parts(parts, context, said.append)
    assert ended["first"] == ended["one"] == ended["two"] == "done"
    assert ended["broken"] == "failed with status 1: 2 tests failed"
    assert ended["falls"] == "failed with status 1: ZeroDivisionError: division by zero"
    assert ended["hangs"] == "stopped: no end after 0 s of measuring"
    assert [text for text in said if text.startswith("broken: ")]
    spans = [read_json(tmp_path / f"{name}.span") for name in ("one", "two")]
    assert spans[0][1] <= spans[1][0]
    assert not alive(int((tmp_path / "pid").read_text()))

    table = write_report(context, ended, tmp_path / "out")
    assert "broken: failed with status 1: 2 tests failed" in table.splitlines()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("all.json", "log.txt", "profile.txt")
    }
    assert "=== first\nceilings\n" in (tmp_path / "out/log.txt").read_text()
    assert read_json(tmp_path / "out/all.json")["ended"] == ended


def test_the_budget_is_never_exceeded(tmp_path: Path) -> None:
    """Nothing is ready in time, nothing ends by itself, and one ignores the request to end."""
    sleeps = "time.sleep(1000)"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + sleeps
    parts = [
        Part("first", ("-c", f"import time; {sleeps}"), is_first=True),
        Part("tests", ("-c", f"import time; {sleeps}")),
        stand_in(tmp_path, "deaf", do=deaf),
        stand_in(tmp_path, "slow", then=sleeps, measure_s=1000.0),
        stand_in(tmp_path, "late"),
    ]
    context = context_in(tmp_path, 14.0)
    ended = run_parts(parts, context, lambda text: None)
    assert time.time() - context.started < 14.0
    assert set(ended) == {part.name for part in parts}
    assert all(outcome.startswith("stopped: ") for outcome in ended.values())
    assert ended["late"] == "stopped: no time left to measure"


def test_a_part_ends_with_the_check(tmp_path: Path) -> None:
    """A part that waits to be measured does not outlive whoever would measure it."""
    context_in(tmp_path)
    words = f'["-m", "benchmarks.gpu_check.part", {str(tmp_path)!r}, "small_models"]'
    code = (
        "import os, subprocess, sys\n"
        f"words = [sys.executable, *{words}, str(os.getpid())]\n"
        "print(subprocess.Popen(words, stdout=subprocess.DEVNULL).pid, flush=True)\n"
        "input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.communicate()
    eventually(lambda: not alive(pid))


def test_every_part_has_its_function() -> None:
    assert all(callable(body(name)) for name in BODIES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["parts=[ceiling]"], "parts: found ceiling, expected of ceilings, tests, "),
        (["seconds=5"], "seconds: found 5"),
        (["device=gpu"], "device: found gpu, expected auto, cuda or cpu"),
        (["peer=nowhere"], "--peer: .*nowhere/model.py not found"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        main(words)


def test_help_names_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == ExitStatus.DONE
    printed = capsys.readouterr().out
    assert all(f"  {name}=" in printed for name in Words.__dataclass_fields__)


def test_make_gpu_check_calls_it() -> None:
    said = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", "gpu-check", "GPU_CHECK=seconds=300"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "-m benchmarks.gpu_check seconds=300" in said


# Stands for a machine whose packages are a GPU image's and the three that are brought as wheels.
BARE = """
import importlib.abc, runpy, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("plotly", "wandb", "datasets", "hypothesis", "transformers"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
runpy.run_module("pytest", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_the_tests_of_a_gpu_need_no_package_that_its_image_lacks() -> None:
    files = sorted(str(path) for path in (ROOT / "tests").glob("test_gpu*.py"))
    words = ["-q", "--collect-only", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    found = subprocess.run(
        [sys.executable, "-c", BARE, *words, "-m", "needs_gpu", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("[cuda") > 25


@pytest.mark.slow
def test_the_whole_check_runs_on_a_cpu(tmp_path: Path) -> None:
    """Every part, at toy sizes; on a busy machine in minutes."""
    (tmp_path / "peer").mkdir()
    peer = checkout(tmp_path / "peer", error=0.0)
    words = [f"out={tmp_path / 'out'}", "seconds=900", "device=cpu", f"peer={peer}"]
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=930,
    )
    everything = read_json(tmp_path / "out/all.json")
    assert everything["ended"] == dict.fromkeys(BODIES, "done"), found.stdout
    assert found.returncode == 0
    parts = everything["parts"]
    assert parts["kill"]["killed"]["attempts"] == 2
    assert [parts["sweep"][f"trial {i}"]["status"] for i in (1, 2, 3)] == ["done"] * 3
    for count in packing.AT_ONCE:
        assert parts["packing"][f"{count} in turns"]["answers"] == count
