"""What a command can end in: its exit statuses, and the one error that a user can mend."""

from enum import IntEnum


def shown(text: object) -> str:
    """Text from a user as a terminal may print it: control characters escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


class BadInput(Exception):
    """Input that cannot be used; one line: field or file, found, expected, remedy."""


class StopRequested(Exception):
    """The run was asked to stop; what it had is saved and the same command resumes it."""


class ExitStatus(IntEnum):
    """Exit statuses of every command; where several apply, 2, 75, 3, 4, 0 is the precedence."""

    DONE = 0
    DEFECT = 1
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
