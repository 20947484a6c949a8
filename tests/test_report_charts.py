"""A chart shows the law of fit.json and the runs behind it, and only a law that stands has one."""

import json
from pathlib import Path

import numpy as np
import pytest
from fit_examples import config, tuned_rows, write_csv
from report_example import example

from configs.files import to_json
from scaling.fit.fit import Fit, fit
from scaling.fit.over_training import OverTraining
from scaling.report.document import write_report
from scaling.report.numbers import log_ticks
from scaling.report.scene import scene


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Sizes at several amounts of data, each with five rates; names repeat."""
    path = write_csv(tmp_path_factory.mktemp("charts") / "t.csv", tuned_rows())
    return fit(config(f"runs={path}", "n_bootstrap=40"))


def charts(fitted: Fit) -> dict:
    found = scene(fitted.document, fitted.observations, fitted.curves)["charts"]
    return {chart["key"]: json.loads(to_json(chart)) for chart in found}


def test_each_law_that_stands_has_a_chart(study: Fit) -> None:
    laws = study.document["laws"]
    kaplan = {"L_N": "kaplan_size", "L_D": "kaplan_data", "L_C": "kaplan_compute"}
    expected = {key for name, key in kaplan.items() if laws["kaplan"][name]["status"] != "refused"}
    expected |= {n for n in ("over_training", "learning_curve", "lr") if n in laws}
    assert set(charts(study)) == expected and len(expected) >= 5
    assert charts(example()) == {}


def test_points_and_lines_are_numbers_inside_their_axes(study: Fit) -> None:
    for chart in charts(study).values():
        for name in ("x", "y"):
            axis = chart[name]
            assert axis["label"] and len(axis["ticks"]) >= 2
            for series in [*chart["points"], *chart["lines"]]:
                assert len(series["x"]) == len(series["y"]) > 0
            for series in chart["points"]:
                assert all(axis["low"] <= value <= axis["high"] for value in series[name])


def test_the_dark_points_are_the_runs_of_the_law_although_names_repeat(study: Fit) -> None:
    law = study.document["laws"]["kaplan"]["L_N"]
    series = {s["name"]: s for s in charts(study)["kaplan_size"]["points"]}
    used = [
        (study.observations.run_id[i], study.observations.tokens[i])
        for i in series["runs of the law"]["runs"]
    ]
    assert sorted(used) == sorted(zip(law["runs"], law["tokens"], strict=True))
    assert len(used) == law["n_points"] < len(study.observations)


def test_the_lines_are_the_laws_of_fit_json(study: Fit) -> None:
    stated = study.document["laws"]["over_training"]
    law = OverTraining(**{n: stated[n]["value"] for n in ("E", "a_prime", "b_prime", "eta")})
    for line in charts(study)["over_training"]["lines"]:
        expected = law.predict_loss(np.array(line["x"]), line["shade"])
        assert line["y"] == pytest.approx(expected, rel=1e-4)
    for curve, line in zip(
        study.document["laws"]["learning_curve"]["sizes"],
        charts(study)["learning_curve"]["lines"],
        strict=True,
    ):
        term = (curve["D_c"]["value"] / np.array(line["x"])) ** curve["alpha"]["value"]
        floor = curve["E"]["value"] or 0.0 if "E" in curve else 0.0
        assert line["y"] == pytest.approx(floor + term, rel=1e-4)


def test_the_crosses_are_the_law_of_the_rate(study: Fit) -> None:
    law, chart = study.document["laws"]["lr"], charts(study)["lr"]
    cells = [cell for cell in law["cells"] if cell["value"] is not None]
    crosses = next(s for s in chart["points"] if s["look"] == "law")
    for cell, x in zip(cells, crosses["x"], strict=True):
        said = law["c"]["value"] * cell["params"] ** law["p"]["value"]
        assert x == pytest.approx(said * cell["tokens"] ** law["q"]["value"], rel=1e-4)


def test_the_valleys_of_the_rate_need_no_run_of_the_headline(study: Fit) -> None:
    """A sweep's tuning runs vary the rate and are no observation of the other laws."""
    few = study.observations.take(study.observations.columns["lr"] > 2e-3)
    assert 0 < len(few) < len(study.observations)
    other = Fit(study.document | {"laws": {"lr": study.document["laws"]["lr"]}}, few, {}, True)
    assert charts(other)["lr"] == charts(study)["lr"]


def test_a_chart_goes_when_its_law_does(study: Fit, tmp_path: Path) -> None:
    write_report(study, tmp_path)
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names >= set(charts(study))
    text = (tmp_path / "fit.md").read_text()
    assert "figures/over_training.png" in text and "L(D) at N = 20.0M" in text
    write_report(example(), tmp_path)
    assert not {path.stem for path in (tmp_path / "figures").iterdir()} & set(charts(study))
    assert "Further laws" not in (tmp_path / "fit.md").read_text()


@pytest.mark.parametrize(
    ("low", "high"), [(2.1, 5), (1, 1e9), (3e-4, 0.07), (7, 7), (2.31, 2.33), (1e16, 3e22)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 10 and ticks == sorted(set(ticks))
    assert all(0.97 * low <= tick <= 1.03 * high for tick in ticks)
    assert all(float(f"{tick:.3g}") == pytest.approx(tick) for tick in ticks)
