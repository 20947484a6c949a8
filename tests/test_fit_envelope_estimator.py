"""The envelope of curves: closed forms of its crossings, its flags, and when it is refused."""

from pathlib import Path

import numpy as np
import pytest

from common.text import plural
from scaling.fit.envelope.estimator import fit_envelope
from scaling.fit.envelope.lower_envelope import Trace, lower_envelope
from scaling.fit.pipeline import fit
from tests.support.curve_examples import SIZES, SURFACE, finals, fitted, traces
from tests.support.fit_examples import config, write_csv
from tests.support.json_schema import problems


def test_fit_envelope_recovers_the_exponents():
    """The exponents are those of the surface."""
    law = fitted(traces()).law
    assert law.a.value == pytest.approx(SURFACE.a, abs=1e-3)
    assert law.b.value == pytest.approx(SURFACE.b, abs=1e-3)
    n = law.n_coef.value * 1e20**law.a.value
    assert n == pytest.approx(SURFACE.optimal_allocation(1e20)[0], rel=0.01)
    assert law.status == "ok"


def test_fit_envelope_fits_a_and_b_apart():
    """The exponents a and b need not add up to one."""
    # C = 6 k N^0.9 D: at the optimum D ~ N^(alpha/beta), so C ~ N^(0.9 + alpha/beta).
    law = fitted(traces(rate=lambda n: 6 * 10 * n**0.9)).law
    slope = SURFACE.alpha / SURFACE.beta
    assert law.a.value == pytest.approx(1 / (0.9 + slope), abs=1e-3)
    assert law.b.value == pytest.approx(slope / (0.9 + slope), abs=1e-3)


def test_fit_envelope_least_squares_is_flat_on_a_staircase():
    """Least squares on a staircase is flat by one over its steps squared."""
    # Four sizes whose curves are flat and rule one decade each: k equal whole steps.
    decades = []
    for j in range(4):
        tokens = 10.0 ** np.linspace(0, 4, 4001)
        loss = np.where(tokens <= 10.0 ** (j + 1), 3.0 - 0.1 * j, 4.0)
        loss = np.where(tokens < 10.0**j, 5.0, loss)
        step = 1000.0 * np.arange(4001)
        decades.append(Trace(str(j), 10.0**j, 1.0, step, tokens, loss, 0.0))
    methods = fitted(decades).law.methods
    assert methods["crossings"].a.value == pytest.approx(1.0, abs=2e-3)
    assert methods["budgets"].a.value == pytest.approx(1 - 1 / 16, abs=2e-3)


def test_fit_envelope_flags_unfinished_schedules():
    """Unfinished schedules are flagged and predict nothing."""
    found = fitted(traces(settled=0.9))
    assert [flag.code for flag in found.law.flags] == ["unsettled_schedule"]
    assert found.law.settled_share < 0.1
    assert found.frontier is None
    assert fitted(traces()).frontier is not None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fit_envelope_refuses_too_few_sizes(count):
    """Too few sizes are refused."""
    law = fitted(traces(SIZES[:count])).law
    assert law.status == "refused"
    assert f"curves of {plural(count, 'size')}; 4 are needed" in str(law.reason)


def test_fit_envelope_refuses_one_or_two_runs():
    """An envelope of one or two runs is refused."""
    better = []
    for index, one in enumerate(traces()):
        loss = np.full(400, 2.0 if index in (2, 3) else 9.0)
        tokens = np.geomspace(1e18, 1e22, 400) / (6 * one.params)
        better.append(Trace(**{**vars(one), "tokens": tokens, "loss": loss - np.log(tokens) / 99}))
    reason = str(fitted(better).law.reason)
    assert reason == "the envelope is made of 1 run alone: 4e+08-400"


def test_fit_envelope_refuses_no_curves():
    law = fit_envelope(finals(traces()), 0, 0, []).law
    assert str(law.reason).startswith("no training curves")


def test_fit_envelope_intervals_hold_the_truth():
    """Intervals hold the truth and failed resamples are counted."""
    curves = traces(horizons=(20.0, 80.0, 200.0, 400.0), sigma=0.003, seed=1)
    law = fitted(curves, 300).law
    low, high = law.a.ci90
    assert low < SURFACE.a < high
    assert law.failed_resamples == 0
    few = fitted(traces(SIZES[:4]), 300).law
    # Three crossings of four runs: any resample that leaves out a run fails, 1 - 4!/4^4 of them.
    assert few.status == "refused"
    assert "bootstrap resamples" in str(few.reason)


def test_fit_envelope_covers_under_noise():
    """Thirty studies of eight sizes at four horizons, each run with an error of its own."""
    found = []
    for seed in range(30):
        curves = traces(horizons=(20.0, 80.0, 200.0, 400.0), sigma=0.003, seed=seed)
        found.append(fitted(curves).law.a.value)
    scatter = np.std(found, ddof=1)
    assert np.mean(found) == pytest.approx(SURFACE.a, abs=3 * scatter / np.sqrt(30))
    stated = [
        fitted(traces(horizons=(20.0, 80.0, 200.0, 400.0), sigma=0.003, seed=seed), 200)
        for seed in range(2)
    ]
    assert min(one.law.a.se for one in stated) > scatter


def test_fit_envelope_resample_is_the_fit_of_its_runs():
    """A resample is the fit of the runs drawn."""
    curves = traces(horizons=(30.0, 400.0), sigma=0.01)
    envelope = lower_envelope(curves)
    drawn = np.array([True, False] * 8)
    drawn[3] = True
    part = lower_envelope([t for t, there in zip(curves, drawn, strict=True) if there])
    of_all = envelope.crossings(drawn[None])[0][0]
    of_part = part.crossings(np.ones((1, len(part.traces)), dtype=bool))[0][0]
    step = envelope.log_c[1] - envelope.log_c[0]
    assert np.array_equal(np.isfinite(of_all), np.isfinite(of_part))
    assert np.nanmax(np.abs(of_all - of_part)) < 2 * step


def table(path, **counts):
    """The curves as rows; `counts` are further columns, as functions of the parameters."""
    rows = []
    for index, trace in enumerate(traces()):
        for step, tokens, loss in zip(trace.step, trace.tokens, trace.loss, strict=True):
            rows.append(
                {
                    "run_id": f"run-{index}",
                    "params": trace.params,
                    "tokens": tokens,
                    "step": step,
                    "loss": loss,
                    "is_final": int(tokens == trace.tokens[-1]),
                    "lr": 1e-3,
                    **{name: count(trace.params) for name, count in counts.items()},
                }
            )
    return write_csv(path, rows)


def test_fit_envelope_of_a_curves_table(tmp_path):
    """A curves table gets the law in fit.json."""
    asked = config(f"runs={table(tmp_path / 'c.csv')}", "n_bootstrap=60", "predict.flops=[1e20]")
    found = fit(asked)
    document = found.document.to_json()
    assert problems(document) == []
    law = document["laws"]["envelope"]
    assert law["settled_share"] == 1.0  # a constant learning rate leaves nothing unfinished
    assert law["a"]["value"] == pytest.approx(SURFACE.a, abs=2e-3)
    (row,) = (
        row for row in document["predictions"] if row["flops"] == 1e20 and row["law"] == "envelope"
    )
    n, d = SURFACE.optimal_allocation(1e20)
    assert row["n_opt"]["value"] == pytest.approx(n, rel=0.01)
    assert row["d_opt"]["value"] == pytest.approx(d, rel=0.01)
    assert found.curves["run-0"][-1]["step"] == 400_000


def test_fit_envelope_under_another_count(tmp_path):
    """Another count of parameters moves the exponent as the surface says."""
    # With N' = 3 N^g the loss falls as N'^-(alpha/g), and C = 6 N' D.
    g = 1.2
    path = table(tmp_path / "c.csv", params_total=lambda n: 3 * n**g)
    document = fit(config(f"runs={path}", "laws=[envelope]", "n_bootstrap=60")).document.to_json()
    assert problems(document) == []
    (row,) = document["conventions"]
    assert (row["params"], row["flops"], row["law"]) == ("total", "6nd", "envelope")
    expected = SURFACE.beta / (SURFACE.alpha / g + SURFACE.beta)
    assert row["a"]["value"] == pytest.approx(expected, abs=2e-3)
    assert document["laws"]["envelope"]["a"]["value"] == pytest.approx(SURFACE.a, abs=2e-3)


def test_fit_envelope_alone(tmp_path):
    """The law stands alone where it alone is asked for."""
    path = table(tmp_path / "c.csv")
    found = fit(config(f"runs={path}", "laws=[envelope]", "n_bootstrap=60"))
    assert list(found.document.to_json()["laws"]) == ["envelope"]
    assert found.stands
    rows = [{"params": n, "tokens": 20 * n, "loss": 3.0} for n in SIZES]
    plain = write_csv(tmp_path / "p.csv", rows)
    found = fit(config(f"runs={plain}", "laws=[envelope]", "n_bootstrap=0"))
    assert found.document.envelope.reason.startswith("no training curves")
    assert not found.stands
    assert "envelope" not in fit(config(f"runs={plain}", "n_bootstrap=0")).document.laws


def test_traces_of_skips_excluded_runs(tmp_path):
    """Excluded runs are not on the envelope."""
    path = table(tmp_path / "c.csv")
    asked = config(f"runs={path}", "laws=[envelope]", "n_bootstrap=0", "exclude=[run-0,run-7]")
    law = fit(asked).document.to_json()["laws"]["envelope"]
    assert law["curves"] == 6
    assert len(law["crossings"]) == 5


@pytest.mark.needs_reference
def test_fit_envelope_flags_the_olmo_ladder(reference_dir: Path):
    """The OLMo ladder is flagged as unfinished."""
    path = reference_dir / "olmo_ladder_curves.csv"
    asked = config(f"runs={path}", "where.role=train", "laws=[envelope]", "n_bootstrap=400")
    law = fit(asked).document.to_json()["laws"]["envelope"]
    codes = {flag["code"] for flag in law["flags"]}
    assert law["status"] == "flagged"
    assert {"unsettled_schedule", "few_budgets", "wide_interval"} <= codes
    assert len(law["crossings"]) == 3 and law["curves"] == 16
    # Least squares on the staircase would give about 0.28 and an interval of 0.05.
    assert law["methods"]["budgets"]["a"]["value"] < law["a"]["ci95"][0]
