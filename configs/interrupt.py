"""Ctrl-C while a script still imports ends it silently; imported first, for that effect.

`configs.load.run_entry` gives Python's own handling back. Who ignores Ctrl-C (nohup) goes on so.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
