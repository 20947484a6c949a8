"""The guide: every page is reached, every command of it is one, the gallery has what it needs."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.support.commands import readable

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
INDEX = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
GALLERY = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
# Pages whose commands a test of their own runs, or reads as their programs do.
RUN = {"compare-arms", "fit-your-own-runs", "run-on-a-cluster", "reproduce-124m"}
READ = {"commands", "experiments", "gpu", "prepare-data", *RUN}
COMMAND = re.compile(r"^(?:\$ )?((?:python|torchrun|make) .*)$", re.MULTILINE)


def _fenced(text: str) -> str:
    found = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return "".join(found).replace("\\\n", " ")


def test_every_page_is_reached_from_the_readme_and_the_guide() -> None:
    targets = set(re.findall(r"\]\((?:docs/)?([\w-]+\.md)", README + INDEX))
    assert {page.name for page in DOCS} - {"index.md"} <= targets
    assert {f"docs/{page}.md" for page in ("index", "faq", "gallery", "notebook")} <= set(
        re.findall(r"\]\((docs/[\w-]+\.md)", README)
    )


def test_every_page_with_commands_has_a_test_of_them() -> None:
    """READ are the pages of test_docs.py, test_docs_arms.py and test_docs_cluster.py."""
    assert {page.stem for page in DOCS if COMMAND.search(_fenced(page.read_text()))} == READ


@pytest.mark.parametrize("page", ["fit-your-own-runs", "compare-arms"])
def test_commands_beside_the_walk_can_be_typed(page: str) -> None:
    lines = COMMAND.findall(_fenced((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")))
    assert sum(readable(line) for line in lines) >= 4


def test_first_commands_of_each_reader_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [row for row in INDEX.splitlines() if row.startswith("| ")][1:]
    typed = [re.findall(r"`([^`]+)` \|$", row)[0] for row in rows]
    assert len(typed) >= 5 and sum(map(readable, typed)) >= 4
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word.split()[1] for word in typed if word.startswith("make")} <= set(targets)


def test_readme_answers_before_it_instructs() -> None:
    """The answer and its figure come in the first screen; commands are few there."""
    first = README.split("## ")[0]
    assert len(first.splitlines()) < 35 and "90% interval" in first and "docs/figures/" in first
    assert len(COMMAND.findall(_fenced(README))) <= 8
    section = README.split("## Beside other projects")[1].split("## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| [")]
    assert len(rows) >= 7 and all("https://github.com/" in row for row in rows)


def _rows() -> list[list[str]]:
    lines = GALLERY.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[start + 1 :] if line[:1] == "|"]
    return [[cell.strip() for cell in row] for row in cells]


def test_gallery_has_eight_tables_each_with_its_command_and_both_numbers() -> None:
    rows = _rows()
    assert len(rows) >= 8
    for table, command, published, here, differs in rows:
        words = re.findall(r"`([^`]+)`", command)[0]
        readable(f"python fit.py {words}")
        assert words.startswith("runs=") and differs
        assert re.search(r"\d", here) or here.startswith("refused")
        assert re.search(r"\d\.\d", published) or "no constants" in published
        assert "](https://" in table or table.startswith("the same")


def test_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cited["version"] == project["version"] and cited["license"] == project["license"]
    assert cited["title"] == project["description"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
