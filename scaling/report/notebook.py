"""A fit in a notebook: from a data frame to a typed result that shows itself.

from scaling.fit import fit_table
fit = fit_table(frame, columns={"params": "n"})
fit; fit.plot(); fit.to_frame("minima"); fit.document.isoflop.a.ci90
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import BadInput
from common.text import listed
from configs.groups import root_values
from configs.schema import build
from configs.suggest import cure, one_of
from scaling.fit.config import FitConfig
from scaling.fit.pipeline import Fit, fit
from scaling.fit.results import FitDocument
from scaling.fit.summary import summary
from scaling.fit.table.inputs import read_sources
from scaling.fit.table.readers import table_in_memory
from scaling.report.document import study_of, write_report_into
from scaling.report.figures.all_charts import all_charts
from scaling.report.figures.chart import Chart
from scaling.report.paper.files import SUFFIXES
from scaling.report.paper.records import RECORDS
from scaling.report.tables.laws import exponents
from scaling.report.text.headline import headline
from scaling.report.text.labels import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF_A_COMMAND = ("by", "baseline", "compare", "explore", "figures", "out", "verbose")


@dataclass(frozen=True, repr=False)
class TableFit:
    """A fit and its runs; `fit.document` is what fit.json holds, typed."""

    fit: Fit

    @property
    def document(self) -> FitDocument:
        """Laws, flags, predictions and checks, as frozen dataclasses."""
        return self.fit.document

    def plot(self, key: str | None = None) -> "Figure":
        """A figure by its key; without one the IsoFLOP curves, or the first that can be drawn.

        It is a matplotlib Figure, shown at the end of a cell. Raises BadInput with the reason where
        that figure cannot be drawn.
        """
        from scaling.report.figures.static import figure_of  # matplotlib takes a while to import

        drawn = [name for name, chart in self._charts.items() if chart.absent is None]
        key = key or next(iter(sorted(drawn, key=lambda name: name != "valleys")), "valleys")
        if key not in self._charts:
            raise BadInput(f"plot: found {key!r}, expected {one_of(key, self._charts)}")
        if (why := self._charts[key].absent) is not None:
            raise BadInput(f"plot: {key} cannot be drawn: {why}; there are {listed(drawn)}")
        return figure_of(self._charts[key])

    def to_frame(self, what: str = "estimates") -> Any:
        """A pandas DataFrame: `estimates`, `minima`, `residuals` or `bootstrap`. BadInput."""
        import pandas

        if what not in RECORDS:
            raise BadInput(f"to_frame: found {what!r}, expected {one_of(what, RECORDS)}")
        return pandas.DataFrame(RECORDS[what](self.fit))

    def save(self, out: str | Path, figures: str | Sequence[str] = ()) -> Path:
        """Write what fit.py writes into the folder `out`; the path of report.html. BadInput.

        `figures` are suffixes of a paper's figures, or one: pdf, svg, png.
        """
        suffixes = (figures,) if isinstance(figures, str) else tuple(figures)
        for suffix in suffixes:
            if suffix not in SUFFIXES:
                raise BadInput(f"figures: found {suffix!r}, expected {one_of(suffix, SUFFIXES)}")
        return write_report_into(Path(out), self.fit, lambda _: "choose another folder", suffixes)

    @cached_property
    def _charts(self) -> Mapping[str, Chart]:
        return all_charts(study_of(self.fit))

    def __repr__(self) -> str:
        return summary(self.document)

    def _repr_html_(self) -> str:
        """The headline, the exponents of the laws, and the warnings."""
        table = exponents(self.document)
        heads = "".join(f"<th>{_text(name)}</th>" for name in table.columns)
        rows = "".join(
            f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in table.rows
        )
        warnings = "".join(f"<li>{_text(one.text)}</li>" for one in self.document.warnings)
        return (
            f"<p><b>{_text(headline(self.document))}</b></p>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
            + (f"<ul>{warnings}</ul>" if warnings else "")
        )


def fit_table(runs: Any, name: str = "table", **options: Any) -> TableFit:
    """Fit the laws to runs: a path as fit.py takes, a data frame, an Arrow table, columns or rows.

    `options` are those of fit.py, groups as mappings: columns={"params": "n"}, n_bootstrap=400,
    predict={"flops": [1e20]}. `name` is what a data frame is called in messages. Raises BadInput.
    """
    for option in _OF_A_COMMAND:
        if option in options:
            raise BadInput(f"{option}: found in fit_table, expected on the command line of fit.py")
    known = [f.name for f in fields(FitConfig) if f.name not in ("runs", *_OF_A_COMMAND)]
    for option in options:
        if option not in known:
            raise BadInput(f"{option}: unknown key; {cure(option, known)}")
    is_path = isinstance(runs, str | Path)
    values, chosen = root_values("fit")
    values = {key: value for key, value in values.items() if key not in chosen}
    for key, value in options.items():
        group = values.get(key)
        if isinstance(group, Mapping) and isinstance(value, Mapping):
            value = {**group, **value}
        values[key] = value
    config = build(FitConfig, values | {"runs": str(runs) if is_path else name})
    given = None if is_path else table_in_memory(runs, name)
    return TableFit(fit(config, read_sources(config, given)))


def _text(text: str) -> str:
    return escape(visible(text))
