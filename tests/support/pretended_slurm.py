"""sbatch and squeue as scripts that note each call and reply as told, for tests of odd replies."""

import os
from pathlib import Path

import pytest

import sweep
from configs.cli import run_entry
from tests.support.tiny_sweep import overrides
from tests.support.typed import last_of_each


def call(*argv: str) -> int:
    return run_entry(sweep.main, "sweep", "", last_of_each(*argv))


class Pretended:
    """Slurm's commands as scripts that note each call and reply as told; no reply: a job id."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue"):
            path = folder / name
            # %q: one word of the shell a word, whatever is in it.
            path.write_text(
                f'#!/bin/bash\nprintf "{name}" >> {folder}/calls\n'
                f'printf " %q" "$@" >> {folder}/calls\necho >> {folder}/calls\n'
                f"[ ! -e {folder}/{name}.reply ] || . {folder}/{name}.reply\n"
            )
            path.chmod(0o755)
        self.reply("sbatch", "echo 4711")

    def reply(self, name: str, shell: str) -> None:
        (self.folder / f"{name}.reply").write_text(shell)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    tools = Pretended(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tools.folder}:{os.environ['PATH']}")
    return tools


@pytest.fixture
def line(tmp_path):
    return [*overrides(tmp_path, tmp_path / "out"), "launcher=slurm", "launcher.slurm.workers=9"]
