"""The paths that a user names: `~`, patterns, and what is no path."""

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from common.errors import BadInput
from scaling.fit.table.schema import TABLE_KINDS

PACKED_ENDINGS = (".gz", ".gzip", ".xz", ".bz2", ".zst", ".zip")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def expanded(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths with the home folder for `~`, and in the place of a pattern the files that it matches.

    Raises BadInput for a URL, and for a pattern that matches nothing.
    """
    found: list[str] = []
    for path in paths:
        if _URL.match(path):
            end = path.partition("?")[0].rpartition("/")[2] or "table.csv"
            raise BadInput(
                f"runs: {path} is a URL, expected a file; download it first: curl -L -o {end} "
                f"'{path}', then runs={end}"
            )
        home = os.path.expanduser(path)
        if glob.has_magic(home) and "\0" not in home and not os.path.lexists(home):
            matches = sorted(glob.glob(home, recursive=True))
            if not matches:
                raise BadInput(f"runs: no file matches {path}; expected a table or more")
            found += matches
        else:
            found.append(home)
    return tuple(found)


def stem(path: str) -> str:
    """The name of an input without its endings: `runs` of runs.csv.gz."""
    name = Path(path).name
    while Path(name).suffix.lower() in (*PACKED_ENDINGS, *TABLE_KINDS):
        name = Path(name).stem
    return name or "stdin"
