"""From tables and sweep directories to the runs of a fit.

It re-exports nothing: launchers import parts of it and fork, which pyarrow must not be in.
"""
