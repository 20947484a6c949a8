"""What the pages for users say to type works, and ends as they say."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import data.prepare
import fit as entry
import model.pretrained
import train
import training.sample
import training.zero_shot
from configs.errors import ExitStatus
from configs.load import CONFIG_DIR, Arguments, run_entry
from configs.words import read_words

ROOT = Path(__file__).resolve().parent.parent
WALK = (ROOT / "docs" / "fit-your-own-runs.md").read_text(encoding="utf-8")
PAGES = [
    *("docs/fit-your-own-runs.md", "docs/method.md"),
    *("docs/prepare-data.md", "docs/run-on-a-cluster.md", "docs/reproduce-124m.md"),
]
QUICK = "n_bootstrap=60"


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", WALK, re.MULTILINE | re.DOTALL)


def test_the_walk_from_a_table_to_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table, queries = _blocks("python")
    Path("make_table.py").write_text(table)
    runpy.run_path("make_table.py")
    lines = Path("logged.csv").read_text().splitlines(keepends=True)
    assert len(lines) == 71
    Path("five.csv").write_text("".join(lines[:6]))
    commands = _blocks("console")
    assert len(commands) == 6
    for block in commands:
        command, _, shown = block.partition("\n")
        arguments = shlex.split(command)[3:]
        status = run_entry(entry.main, "fit", "", [*arguments, QUICK])
        printed = capsys.readouterr()
        if shown.startswith("error:"):
            assert status == ExitStatus.BAD_INPUT and printed.err == shown
            continue
        refused = "\n  refused:" in shown  # so a law of the headline is refused
        assert status == (ExitStatus.NO_LAW if refused else ExitStatus.DONE)
        for line in shown.splitlines():
            # With fewer resamples intervals differ; the runs, estimates and places do not.
            if "interval" in line:
                continue
            start = line.split("(")[0].rstrip()
            if not line.startswith("  (") and start and "predict" not in line:
                assert start in printed.out, line
    for query in re.findall(r"^predict_loss.*$", queries, re.MULTILINE):
        call, _, said = query.partition("#")
        Path("query.py").write_text(f"from scaling.fit.laws import predict_loss\nloss = {call}")
        scope = runpy.run_path("query.py")
        if stated := re.match(r" ?([\d.]+\d)", said):
            assert scope["loss"] == pytest.approx(float(stated[1]), abs=6e-4)


def test_the_method_names_every_flag_that_the_code_raises() -> None:
    """Codes are literals in calls of Flag(...), flag(...) or entries {"code": ...}."""
    method = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    raised = set()
    for path in (ROOT / "scaling" / "fit").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        raised |= set(re.findall(r'\b[Ff]lag\(\s*"([a-z_]+)"', text))
        raised |= set(re.findall(r'"code": "([a-z_]+)"', text))
    assert len(raised) > 10
    missing = sorted(code for code in raised if f"`{code}`" not in method)
    assert not missing, f"docs/method.md says nothing of {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target
    assert page in (ROOT / "README.md").read_text(encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    """The lines of a page's shell blocks as words, each part of an `a && b` by itself."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(part) for line in lines for part in line.split(" && ")]


# What reads the words of a module's command line without doing what they say.
READERS = {
    "data.prepare": lambda words: data.prepare.requested(
        Arguments("prepare", tuple(words), CONFIG_DIR)
    ),
    "model.pretrained": lambda words: read_words(words[1:], model.pretrained.Words),
    "training.sample": lambda words: read_words(words, training.sample.Words),
    "training.zero_shot": lambda words: read_words(words, training.zero_shot.Words),
}


def test_the_way_to_gpt2_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"git", "cd", ".", "mkdir", "curl"}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    planned = []
    for name, *words in commands("docs/reproduce-124m.md"):
        if name == "make":
            assert set(words) <= set(targets)
        elif name == "hf":
            offline = os.environ | {"HF_HUB_OFFLINE": "1"}
            program = Path(sys.executable).with_name("hf")
            said = subprocess.run(
                [program, *words, "--dry-run"], env=offline, capture_output=True, text=True
            ).stderr
            assert "OfflineModeIsEnabled" in said, said  # its words were understood
        elif name not in known:
            assert name in ("python", "torchrun"), name
            rest = [word for word in words if not word.startswith(("--standalone", "--nproc"))]
            if rest[0] == "-m":
                READERS[rest[1]](rest[2:])
                continue
            assert rest[0] == "train.py"
            arguments = [word for word in rest[1:] if not word.startswith("mode=")]
            assert run_entry(train.main, "train", "", [*arguments, "mode=plan"]) == ExitStatus.DONE
            planned.append(capsys.readouterr().out)
    assert len(planned) == 5 and all("124,439,808" in plan for plan in planned)
    assert not list(tmp_path.iterdir())
