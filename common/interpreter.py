"""One line for a Python without the project's packages; imported first, for that effect.

It runs under older versions of Python too, so it says things as they did.
"""

import sys
from importlib.util import find_spec

_NEEDED = ["yaml", "numpy", "scipy", "omegaconf", "hydra", "pyarrow", "rich"]
if sys.argv[0].endswith("throughput.py"):  # it shall run in any image that has torch
    _NEEDED = ["numpy", "torch"]
elif not sys.argv[0].endswith("fit.py"):  # it needs no torch
    _NEEDED.append("torch")


def complaint():
    # type: () -> str
    """What is wrong with this interpreter, and what to type; empty if nothing is."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    old = sys.version_info < (3, 11)
    if not missing and not old:
        return ""
    version = ".".join(map(str, sys.version_info[:2]))
    found = f"is Python {version}" if old else f"has no package {missing[0]}"
    expected = "expected 3.11 or later with the project's packages"
    cure = "run `make install` once, then .venv/bin/python in place of python"
    return f"error: {sys.executable} {found}, {expected}; {cure}"


_COMPLAINT = complaint()
if _COMPLAINT:
    sys.stderr.write(_COMPLAINT + "\n")
    sys.exit(2)
