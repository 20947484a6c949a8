"""The code that a run names: a commit, and whether files differ from it."""

import subprocess

from training.trial.running_code import code_version


def test_code_outside_a_repository_has_no_version(tmp_path):
    """Code outside a repository has no version."""
    assert code_version(tmp_path) == (None, None)


def test_a_changed_tracked_file_marks_the_code_dirty(tmp_path):
    """A changed tracked file makes the code dirty."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    (tmp_path / "code.py").write_text("1")
    git("init", "-q")
    git("add", "code.py")
    git("commit", "-qm", "Add code")
    commit, dirty = code_version(tmp_path)
    assert commit and len(commit) == 40 and dirty is False
    (tmp_path / "code.py").write_text("2")
    assert code_version(tmp_path) == (commit, True)
