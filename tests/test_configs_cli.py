"""Every end of a command has its exit status, and one line for what a user can mend."""

import signal
import subprocess
import sys

import pytest

from common.errors import BadInput, ExitStatus, StopRequested
from configs.cli import run_entry


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (BadInput("x: found 1,\nexpected 2"), ExitStatus.BAD_INPUT),
        (StopRequested("saved"), ExitStatus.STOPPED),
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED),
        (None, ExitStatus.DONE),
    ],
)
def test_exit_status_and_line_of_every_end(end, status, capsys):
    """Every end has its status and one line."""

    def main(arguments):
        if end:
            raise end
        return ExitStatus.DONE

    assert run_entry(main, "train", "test", ["a=b"]) == status
    printed = capsys.readouterr().err
    assert printed.count("\n") <= 1
    if isinstance(end, BadInput):
        assert printed == "error: x: found 1, expected 2\n"


@pytest.mark.parametrize("argument", ["--hlep", "--config-dir"])
def test_run_entry_refuses_a_wrong_option_in_one_line(argument, capsys):
    assert run_entry(lambda arguments: 0, "train", "test", [argument]) == ExitStatus.BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and argument in error


def test_exit_status_of_a_broken_pipe():
    """A reader that leaves is no defect."""
    code = "import sys; from configs.cli import run_entry\n"
    code += "sys.exit(run_entry(lambda a: [print('x' * 99) for _ in range(9999)], 'train', '', []))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE
