"""What code a run was made with: the commit of this repository, and torch's version."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CODE = Path(__file__).resolve().parents[2]


@cache
def running_code() -> tuple[str | None, bool | None]:
    """`code_version` of this process, as it was when it was first asked for."""
    return code_version(_CODE)


def code_version(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the code's own repository and whether tracked files differ; None, None without."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    if not (folder / ".git").exists():  # a copy inside somebody else's repository is not ours
        return None, None
    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def torch_version() -> str | None:
    """Of the installed torch, which is not imported; None where there is none."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None
