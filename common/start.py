"""What every command does before it imports anything else; imported first, for that effect.

Ctrl-C while a script still imports ends it silently (`configs.cli.exit_status` gives Python's own
handling back; who ignores Ctrl-C, as nohup does, goes on so). Output has signs that the terminal
can show, also that of child processes.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# isort: split
import common.interpreter  # noqa: F401
from common.terminal import fit_streams

fit_streams()
