"""The explorer of the page: its inputs, and the lines of the laws that explorer.js reads."""

from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template

from scaling.report.figures.allocation import QUANTITIES, LawLine, law_lines
from scaling.report.figures.chart import rounded
from scaling.report.figures.surface import surface_of
from scaling.report.study import Study
from scaling.report.text.labels import axis_labels

_TEMPLATE = Path(__file__).parent / "static" / "explorer.html"


def explorer_values(study: Study) -> dict[str, object]:
    """What explorer.js reads: the laws as lines, the surface and the reach of its runs."""
    surface, runs, labels = surface_of(study.document.parametric), study.runs, axis_labels(study)
    columns = {"params": runs.params, "tokens": runs.tokens}
    reach = {
        name: [float(values.min()), float(values.max())] if len(values) else None
        for name, values in columns.items()
    }
    return {
        "token": labels.token,
        "loss_unit": labels.loss_unit,
        "laws": {key: _line(line) for key, line in law_lines(study).items()},
        "surface": None if surface is None else asdict(surface) | reach,
    }


def _line(line: LawLine) -> dict[str, object]:
    values: dict[str, object] = {"flops": rounded(line.flops)}
    for name in QUANTITIES:
        low, high = line.intervals[name]
        values |= {name: rounded(line.values[name])}
        values |= {f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
    return {"range": [line.low, line.high], "line": values}


def explorer(study: Study) -> str:
    """The inputs in HTML; without a law there is nothing to explore."""
    lines = law_lines(study)
    options = [f'<option value="{k}">{escape(line.name)}</option>' for k, line in lines.items()]
    hidden = "" if surface_of(study.document.parametric) else "hidden"
    token = axis_labels(study).token.capitalize()
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return (
        template.substitute(options="".join(options), token=token, hidden=hidden) if lines else ""
    )
