"""What a command can end in: its exit statuses, and the one error that a user can mend."""

import errno
import os
from enum import IntEnum


class BadInput(Exception):
    """Input that cannot be used; one line: field or file, found, expected, remedy."""


REFUSED = "the disk refused"  # in the text of who gave up writing
_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), REFUSED)
MAKE_ROOM = "make room, and the same command goes on"


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error: a passing cause, after which a run goes on.

    By the text of it and of what it came from: libraries wrap it, and another rank has but a text.
    """
    while error is not None:
        if any(sign in str(error) for sign in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_remedy(error: OSError) -> str:
    """What to do where a folder cannot be written in."""
    return MAKE_ROOM if is_disk_full(error) else "it must be a folder to write in"


class StopRequested(Exception):
    """The run was asked to stop; what it had is saved and the same command resumes it."""


class ExitStatus(IntEnum):
    """Exit statuses of every command; where several apply, 2, 75, 3, 4, 0 is the precedence.

    1 is Python's own for a traceback: a defect of ours.
    """

    DONE = 0
    BAD_INPUT = 2
    NO_RESULT = 3
    NO_LAW = 4
    STOPPED = 75
    INTERRUPTED = 130


def require_positive(group: str, config: object, *names: str) -> None:
    """BadInput for the first of the fields `names` that is not above 0."""
    for name in names:
        if getattr(config, name) <= 0:
            raise BadInput(f"{group}.{name}: found {getattr(config, name)}, expected more than 0")


def require(holds: bool, name: str, found: object, expected: str) -> None:
    """BadInput `name: found ..., expected ...` unless the condition holds."""
    if not holds:
        raise BadInput(f"{name}: found {found}, expected {expected}")
