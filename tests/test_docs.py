"""What the pages for users say to type works, and ends as they say."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

import fit as entry
from configs.errors import ExitStatus
from configs.load import run_entry

ROOT = Path(__file__).resolve().parent.parent
WALK = (ROOT / "docs" / "fit-your-own-runs.md").read_text(encoding="utf-8")
PAGES = [
    *("docs/fit-your-own-runs.md", "docs/method.md"),
    *("docs/prepare-data.md", "docs/run-on-a-cluster.md"),
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
