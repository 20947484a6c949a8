"""A command's arguments, and how its end becomes an exit status.

Hydra's application decorator is not used: it turns every status into 0 or 1 and makes folders in
each rank.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import MAKE_ROOM, BadInput, ExitStatus, StopRequested, is_disk_full
from common.text import one_line
from configs.groups import listed_files, swept_experiments
from configs.help import OPTIONS, asks_for_help, help_of
from configs.load import CONFIG_DIR, compose_config
from configs.overrides import TRIAL_KEYS, Keys, key_of
from configs.typed_words import refuse_slips


@dataclass(frozen=True)
class Arguments:
    """What was typed: where the root config lies, and overrides in Hydra's grammar."""

    root: str
    overrides: tuple[str, ...]
    config_dir: Path

    def compose(self, keys: Keys = TRIAL_KEYS) -> dict[str, Any]:
        """The merged config as plain containers; see `compose_config`."""
        return compose_config(self.root, self.overrides, self.config_dir, keys)

    def typed(self, *names: str) -> bool:
        """Whether one of the groups or fields `names`, or a field below, was typed."""
        heads = (key_of(override).partition(".")[0] for override in self.overrides)
        return any(head.partition("@")[0] in names for head in heads)

    def require_experiment(self) -> None:
        """BadInput where neither an experiment nor a model nor data were named.

        The defaults of trial.yaml are parts to choose from; together they are no trial.
        """
        if self.config_dir != CONFIG_DIR or self.root not in ("train", "sweep"):
            return
        if not self.typed("experiment", "model", "data"):
            names = swept_experiments() if self.root == "sweep" else listed_files("experiment")
            raise BadInput(
                f"experiment: no experiment= given; as experiment=smoke, of {', '.join(names)}"
            )


def run_entry(
    main: Callable[[Arguments], int],
    root: str,
    description: str,
    argv: Sequence[str] | None = None,
    prog: str | None = None,
    keys: Keys = TRIAL_KEYS,
) -> int:
    """Parse the command line, call `main`, and turn its end into an exit status (see ExitStatus).

    `prog` is the command as --help says it, where that is no file's name, and `keys` what it lists.
    Under torchrun rank 0 alone prints what a user can mend.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if asks_for_help(words):
        return exit_status(lambda: _print_help(root, description, keys, prog))
    return exit_status(lambda: main(_arguments(words, root, keys)), "--debug" in words)


def answer_help(root: str, description: str, keys: Keys, prog: str | None = None) -> None:
    """Print help and exit, if it is asked for; for scripts whose imports take seconds."""
    if asks_for_help(sys.argv[1:]):
        sys.exit(exit_status(lambda: _print_help(root, description, keys, prog)))


def _print_help(root: str, description: str, keys: Keys, prog: str | None) -> int:
    name = prog or f"python {Path(sys.argv[0]).name}"
    print(help_of(name, description, keys, root))
    return ExitStatus.DONE


def _arguments(words: Sequence[str], root: str, keys: Keys) -> Arguments:
    """Options of every command, and the words left; BadInput for an option that is none."""
    given: dict[str, str] = {}
    left = []
    there = iter(words)
    for word in there:
        name, equals, value = word.partition("=")
        if name not in OPTIONS:
            left.append(word)
        elif name != "--debug":
            given[name] = value if equals else next(there, "")
            if not given[name]:
                raise BadInput(f"{name}: found nothing after it, expected {OPTIONS[name]}")
    refuse_slips(left, keys.fields)
    config_dir = Path(given.get("--config-dir", CONFIG_DIR)).absolute()
    return Arguments(given.get("--config-name", root), tuple(left), config_dir)


def exit_status(call: Callable[[], int], debug: bool = False) -> int:
    """What a command ends in, with one line on standard error for what a user can mend."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # common/start.py
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return int(call())
    except BadInput as error:
        return _refused(str(error), debug)
    except StopRequested as request:
        if _speaks():
            print(f"stopped: {request}", file=sys.stderr)
        return ExitStatus.STOPPED
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if not is_disk_full(error):
            raise
        return _refused(
            f"{error.filename or 'disk'}: {error.strerror or error}; {MAKE_ROOM}", debug
        )


def _refused(text: str, debug: bool) -> int:
    """Say what a user can mend; the status of that."""
    if debug:
        traceback.print_exc()
    elif _speaks():
        print(f"error: {one_line(text)}", file=sys.stderr)
    return ExitStatus.BAD_INPUT


def _speaks() -> bool:
    """Whether this process tells the user of errors: of torchrun's ranks the first alone."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"
