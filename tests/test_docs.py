"""What the pages for users say to type works, and ends as they say."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fit as entry
import sweep
import train
from benchmarks.gpu_check.part import BODIES
from common.errors import ExitStatus
from configs.cli import run_entry
from scaling.fit.flags import PAGE, codes, with_table
from tests.support.commands import READERS, readable
from tests.support.import_graph import imports, modules
from tests.support.pages import blocks

ROOT = Path(__file__).resolve().parent.parent
WALK = (ROOT / "docs" / "fit-your-own-runs.md").read_text(encoding="utf-8")
PAGES = [
    *("docs/fit-your-own-runs.md", "docs/method.md", "docs/gpu.md", "docs/experiments.md"),
    *("docs/prepare-data.md", "docs/run-on-a-cluster.md", "docs/reproduce-124m.md", "SECURITY.md"),
    *("docs/index.md", "docs/faq.md", "docs/gallery.md", "docs/notebook.md", "docs/commands.md"),
    *("docs/compare-arms.md", "docs/contributing.md", "CHANGELOG.md"),
]
QUICK = "n_bootstrap=60"


def test_the_walk_from_a_table_to_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table, queries = blocks(WALK, "python")
    Path("make_table.py").write_text(table)
    runpy.run_path("make_table.py")
    lines = Path("logged.csv").read_text().splitlines(keepends=True)
    assert len(lines) == 71
    Path("five.csv").write_text("".join(lines[:6]))
    commands = blocks(WALK, "console")
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


def test_codes_are_those_that_fits_and_plans_raise() -> None:
    """Each code raised is in the list, and each in the list is raised somewhere."""
    rooms = [ROOT / "scaling" / room for room in ("fit", "plan")]
    texts = [path.read_text(encoding="utf-8") for room in rooms for path in room.rglob("*.py")]
    raised = {code for text in texts for code in re.findall(r'\bFlag\(\s*"(\w+)"', text)}
    assert raised <= set(codes())
    assert not [code for code in codes() if not any(f'"{code}"' in text for text in texts)]


def test_table_of_codes_in_the_method_is_that_of_the_list() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "python -m scaling.fit.flags writes it"


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target
    assert page in (ROOT / "README.md").read_text(encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    """The lines of a page's shell blocks as words, each part of an `a && b` by itself."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = "".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    parts = [shlex.split(part, comments=True) for line in lines for part in line.split(" && ")]
    return [words for words in parts if words]


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


@pytest.mark.parametrize(
    ("page", "fewest"),
    [
        *(("README.md", 5), ("docs/commands.md", 17), ("docs/prepare-data.md", 7)),
        ("docs/experiments.md", 6),
        *(("docs/run-on-a-cluster.md", 9), ("docs/gpu.md", 3)),
    ],
)
def test_commands_of_a_page_can_be_typed(
    page: str, fewest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read as its program reads it; a sweep that is not there yet may be missed."""
    monkeypatch.chdir(tmp_path)
    ours = sum(readable(shlex.join(words)) for words in commands(page))
    assert ours >= fewest
    assert not list(tmp_path.iterdir())


def test_the_study_on_four_nodes_is_planned_and_not_submitted_without_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/run-on-a-cluster.md").read_text(encoding="utf-8")
    shown = blocks(page, "text")[0].splitlines()
    sweeps = [words[2:] for words in commands("docs/run-on-a-cluster.md") if "sweep.py" in words]
    (plan, *_), (submit,) = (
        [words for words in sweeps if f"{key}" in " ".join(words)]
        for key in ("launcher.device=H200 launcher.price", "launcher.slurm.time")
    )
    assert run_entry(sweep.main, "sweep", "", plan) == ExitStatus.DONE
    printed = capsys.readouterr().out
    for line in shown:  # how long the cores tokenise is this machine's
        assert re.sub(r", [\d.]+ \w+ of tok.*", "", line) in printed, line
    changed = [*submit, "launcher.submit=false", f"out={tmp_path / 'out'}"]
    words = [word for word in changed if word != "out=/shared/isoflop_m"]
    assert run_entry(sweep.main, "sweep", "", words) == ExitStatus.BAD_INPUT
    assert "data.prepare" in capsys.readouterr().err and not list(tmp_path.iterdir())


ROOMS = re.findall(r"^\| `([\w/]+)/` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)


def test_architecture_names_every_room():
    """Every folder with code of the product stands in the table, and nothing else does."""
    paths = subprocess.run(
        ["git", "ls-files", "*.py", "*.js"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    folders = {str(Path(path).parent) for path in paths if not path.startswith("tests/")}
    assert set(ROOMS) == folders - {".", "scaling"}


@pytest.mark.parametrize(
    "page", ["README.md", "SECURITY.md", "docs/architecture.md", "docs/contributing.md"]
)
def test_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:\w+/)+\w+\.(?:py|md|yaml))`", text):
        assert (ROOT / name).exists(), f"{page} names {name}"


def test_reading_path_is_short_and_complete() -> None:
    """What a listed file imports is listed too, or is a leaf that the README says may wait."""
    section = (ROOT / "README.md").read_text().split("## Reading it in an hour")[1]
    path, leaves = section.split("## ")[0].split("The rest are leaves")
    listed = {name for name in re.findall(r"`([\w/]+\.py)`", path)}
    waits = tuple(
        re.findall(r"`([\w/]+(?:/|\.py))`", re.sub(r"\| [^|]+ \|$", "", leaves, flags=re.M))
    )
    lines = sum(len((ROOT / name).read_text().splitlines()) for name in listed)
    assert 2000 < lines <= 3000
    known = {name: str(file.relative_to(ROOT)) for name, file in modules().items()}
    for name in listed:
        needed = {known[other] for other in imports(ROOT / name) if other in known}
        assert all(other.startswith(waits) for other in needed - listed), (name, needed - listed)


def test_figures_on_a_gpu_have_a_source_or_were_not_measured() -> None:
    """A rate or a ratio stands beside a link, or says that it is no measurement of ours."""
    page = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"\n\n|\n(?=\||\d+\. |- )", prose)
    figures = [p for p in parts if re.search(r"\d ?(%|x |k? tokens/s|TFLOP/s|ms\b|GB\b)", p)]
    assert len(figures) >= 6
    for part in figures:
        assert re.search(r"https://|not measured|arithmetic", part), part


def test_parts_of_the_check_are_those_of_its_page() -> None:
    page = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) >= set(BODIES)
