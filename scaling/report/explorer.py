"""The explorer: its section of a page, and the values from which explorer.js answers.

All arithmetic is in static/laws.js, equal to scaling/fit/laws.py and other_laws/published.py.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from string import Template
from typing import Any

import numpy as np

from scaling.fit.laws import KaplanLaw, PowerLaw, Surface
from scaling.fit.other_laws.published import DATA_HALF_LIFE, PARAMS_HALF_LIFE
from scaling.fit.predict import BENDS, NOISE
from scaling.report import html
from scaling.report.figures.chart import Chart
from scaling.report.figures.explorer import explorer_chart
from scaling.report.literature import published_laws
from scaling.report.optimum import QUANTITIES, Optimum, optima
from scaling.report.study import Study
from scaling.report.text.budget import FARTHEST, GPU
from scaling.report.text.labels import axis_labels
from training.device.data_sheets import GPUS
from training.device.stated import FULL_MFU

LARGEST_VOCABULARY = 50_257
"""Of the published laws' runs: a loss above that of guessing among it is no prediction."""

_STEPS = 60  # of the least loss against compute, at most
SCRIPTS = ("numbers.js", "laws.js", "explorer.js")


def chart(study: Study | None) -> Chart:
    """The figure of the explorer, of published laws alone without a study."""
    own, labels = ({}, None) if study is None else (optima(study), axis_labels(study))
    return explorer_chart(own, labels.token if labels else "token")


def explorer_values(study: Study | None) -> dict[str, object]:
    """What explorer.js reads: laws by key, those of the study first, and devices."""
    own = [] if study is None else _own_laws(study)
    published = [
        {"key": law.key, "name": law.name, "note": law.note, "own": False, "range": law.range}
        | _law(law.n, law.d, law.loss)
        for law in published_laws()
    ]
    return {
        "laws": own + published,
        "devices": {gpu.name: gpu.bf16_flops for gpu in GPUS},
        "device": GPU,
        "mfu": 100 * FULL_MFU,
        "farthest": FARTHEST,
        "noise": NOISE,
        "measured": [] if study is None else _measured(study),
        "guessing": math.log(LARGEST_VOCABULARY),
        "half_lives": {"data": DATA_HALF_LIFE, "params": PARAMS_HALF_LIFE},
    }


def _measured(study: Study) -> list[list[float]]:
    """[C, the loss that two runs of no more compute have reached] where that falls, by rising C."""
    found: list[list[float]] = []
    least = [math.inf, math.inf]
    for row in np.argsort(study.runs.flops, kind="stable").tolist():
        least = sorted([*least, float(study.runs.loss[row])])[:2]
        if least[1] < (found[-1][1] if found else math.inf):
            found.append([float(study.runs.flops[row]), least[1]])
    kept = np.unique(np.linspace(0, len(found) - 1, min(len(found), _STEPS)).astype(int))
    return [found[at] for at in kept.tolist()]


def _own_laws(study: Study) -> list[dict[str, object]]:
    # The table's column says nats: a loss of another unit says its own.
    unit = axis_labels(study).loss_unit
    other = "" if unit.startswith("nats") else f" {unit}"
    return [_own(key, law) | {"unit": other} for key, law in optima(study).items()]


def _own(key: str, law: Optimum) -> dict[str, object]:
    spread = {name: law.spread(name) for name in QUANTITIES}
    return {
        "key": key,
        "name": f"This study: {law.name}",
        "note": "",
        "own": True,
        "range": [law.low, law.high],
        "doubt": BENDS if law.bends else "",
        "spread": {name: ends.tolist() for name, ends in spread.items() if ends.size},
    } | _law(law.n, law.d, law.surface)


def _law(n: PowerLaw, d: PowerLaw, loss: Surface | KaplanLaw | None) -> dict[str, object]:
    constants: Mapping[str, Any] = {} if loss is None else asdict(loss)
    plain = {k: v if v is None else float(v) for k, v in constants.items() if k in _CONSTANTS}
    kind = "surface" if isinstance(loss, Surface) else "kaplan"
    return {
        "n": {name: float(value) for name, value in asdict(n).items()},
        "d": {name: float(value) for name, value in asdict(d).items()},
        **({kind: plain} if loss is not None else {}),
    }


_CONSTANTS = frozenset(
    ("E", "A", "B", "alpha", "beta", "k", "ceiling", "log_N_c", "log_D_c", "alpha_N", "alpha_D")
)


def explorer(study: Study | None) -> str:
    """The section in HTML."""
    values = {
        "devices": "".join(
            f"<option{' selected' if gpu.name == GPU else ''}>{gpu.name}</option>" for gpu in GPUS
        ),
        "figure": html.figure(chart(study)),
    }
    return Template(html.static("explorer.html")).substitute(values)
