"""From runs to laws; `fit_table` for a notebook."""

from pkgutil import resolve_name
from typing import Any


def fit_table(runs: Any, **options: Any) -> Any:
    """Fit the laws to a table; see `scaling.report.notebook.fit_table`, which this calls.

    It is named and not imported, since figures stand above fits.
    """
    return resolve_name("scaling.report.notebook:fit_table")(runs, **options)
