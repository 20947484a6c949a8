"""The figure of the explorer: D* against N* by every law, models of the field, and the answers."""

import numpy as np

from common.numbers import compact, count
from scaling.report.figures.chart import Chart, Line, Panel, Points, Series, axis, said
from scaling.report.literature import MODELS, published_laws
from scaling.report.optimum import Optimum
from scaling.report.text.budget import FARTHEST

_INKS = {
    "kaplan": "refused",
    "hoffmann": "isoflop-other",
    "muennighoff_c4": "parametric-other",
    "besiroglu": "ok",
    "llama3": "soft",
}
_POINTS, _REACH = 40, (1e18, 1e26)


def explorer_chart(own: dict[str, Optimum], token: str) -> Chart:
    """The chart; its last series is empty, for the page to put its answers there."""
    lines: list[Line] = []
    for key, law in own.items():
        reach = np.geomspace(law.low / 10, law.high * FARTHEST, _POINTS)
        name = f"this study: {law.name}"
        n, d = law.n.at(reach), law.d.at(reach)
        lines.append(Line(n, d, key, name, width=2.6, heading=said(name)))
    for one in published_laws():
        reach = np.geomspace(*_REACH, _POINTS)
        n, d = one.n.at(reach), one.d.at(reach)
        line = Line(n, d, _INKS[one.key], one.name, "dash", width=1.6, heading=said(one.name))
        lines.append(line)
    sizes, data = ([getattr(m, name) for m in MODELS] for name in ("params", "tokens"))
    texts = [
        said(
            m.name,
            f"N {count(m.params)}",
            f"D {count(m.tokens)}",
            f"{compact(m.tokens / m.params)} tokens per parameter",
            m.source,
        )
        for m in MODELS
    ]
    models = Points(sizes, data, texts, "optimum", "ink", "models of the field")
    answers = Points([], [], [], "answer", "flagged", "the answers")
    series: tuple[Series, ...] = (*lines, models, answers)
    notes = tuple((m.params, m.tokens, m.name) for m in MODELS if m.noted)
    x = axis("parameters N", "params", sizes, *(line.x for line in lines))
    data_of = f"training tokens D{f' ({token}s in this study)' if token != 'token' else ''}"
    y = axis(data_of, "tokens", data, *(line.y for line in lines))
    return Chart(
        "explorer",
        "Size and data by every law",
        "Each line is the best data for the best size as compute grows; counts of N differ from "
        "paper to paper. Rings are the answers to the question asked.",
        (Panel(x, y, series, notes),),
    )
