"""What repeated tokens are worth: certified on the authors' runs, recovered, bounded, refused."""

import csv
import os
from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.other_laws.data_constrained import _flags, fit_data_constrained
from scaling.fit.other_laws.published import DataConstrained
from scaling.fit.other_laws.repeats import NO_DECAY, Repeats, find_minima
from tests.support.fit_examples import observations, write_csv
from tests.support.fit_runs import run

C4 = PUBLISHED["muennighoff_c4"]
# R_D*, R_N* and the objective of every minimum on the 182 runs of the published fit.
MINIMA = [
    (95.36517, 1.705905, 0.0158046624740),
    (46.99029, 2.329579, 0.0158073785719),
    (160.7097, 1.448714, 0.0158112892966),
    (15.37176, 5.315126, 0.0158259320691),
]


def published_rows(used):
    """The authors' runs, of their fit or all of them."""
    with open(f"{os.environ['REFERENCE_DIR']}/datablations_repeated_data.csv") as file:
        table = [row for row in csv.DictReader(file) if row["used_in_fit"] == "1" or not used]
    names = ("params", "tokens", "unique_tokens", "loss")
    params, tokens, unique, loss = (np.array([float(row[name]) for row in table]) for name in names)
    return Repeats(params, tokens, unique, np.log(loss), 1e-3)


def table_of(rows):
    """The rows as observations."""
    points = [
        {"params": n, "tokens": d, "loss": float(np.exp(log_loss))}
        for n, d, log_loss in zip(rows.params, rows.tokens, rows.log_loss, strict=True)
    ]
    return replace(observations(points), columns={"unique_tokens": rows.unique})


def repeating(R_D=8.0, R_N=4.0, sd=0.003, unique=(1e8, 4e8, 1.6e9), swapped=False, seed=0):
    """Runs of three sizes on three texts, one to 64 passes, by a known law."""
    rng = np.random.default_rng(seed)
    law = DataConstrained(C4, R_D, R_N)
    rows = [
        (n, u * passes, u)
        for n in (1e7, 4e7, 1.6e8, 6.4e8)
        for u in unique
        for passes in (0.25, 0.5, 1, 2, 4, 8, 16, 64)
    ]
    params, tokens, texts = np.array(rows).T
    texts = np.minimum(texts, tokens)
    loss = law.predict_loss(params, tokens, texts) + sd * rng.standard_normal(len(rows))
    if swapped:
        tokens, texts = texts, tokens
    columns = zip(params, tokens, loss, strict=True)
    points = [dict(zip(("params", "tokens", "loss"), row, strict=True)) for row in columns]
    return replace(observations(points), columns={"unique_tokens": texts})


@pytest.mark.needs_reference
def test_objective_at_the_published_constants_is_the_published_one():
    """The authors' objective comes back at their constants, to a millionth."""
    rows = published_rows(used=True)
    assert rows.at(C4, 15.387756, 5.309743) == pytest.approx(0.015825936570763588, rel=1e-6)
    assert rows.at(C4, 2.914900, NO_DECAY) == pytest.approx(0.016922348744, rel=1e-6)
    assert rows.at(C4, NO_DECAY, NO_DECAY) == pytest.approx(0.033103926930, rel=1e-6)
    every = published_rows(used=False)
    assert every.at(C4, 15.387756, 5.309743) == pytest.approx(0.035840480700, rel=1e-6)


@pytest.mark.needs_reference
def test_all_four_minima_are_found_and_the_least_is_not_the_published_one():
    """The published point is the highest of four minima on the authors' own runs."""
    found = find_minima(published_rows(used=True), C4)
    assert len(found) == 4
    data, excess, objective = (
        pytest.approx(values, rel=1e-6) for values in zip(*MINIMA, strict=True)
    )
    assert [one.R_D for one in found] == data
    assert [one.R_N for one in found] == excess
    assert [one.objective for one in found] == objective


@pytest.mark.needs_reference
def test_the_interval_without_an_upper_end_is_said(tmp_path, capsys):
    """On the authors' runs the summary gives R_D* by its lower end, and says so."""
    table = f"runs={os.environ['REFERENCE_DIR']}/datablations_repeated_data.csv"
    asked = ["where.used_in_fit=1", "laws=[data_constrained]", "repeats_surface=muennighoff_c4"]
    assert run(table, *asked, "n_bootstrap=200", "holdout=none", f"out={tmp_path}/o") == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if "R_D*" in one)
    lower = float(line.split("R_D* at least ")[1].split()[0])
    assert 4 < lower < 9 and "no upper end" in line and "several_minima" in line
    page = (tmp_path / "o" / "fit.md").read_text()
    assert "has a lower end" in page and "hardly an upper one" in page


@pytest.mark.needs_reference
def test_the_surface_fitted_with_the_rest_lies_far_below_the_one_held():
    """On the authors' runs all seven constants leave 0.42 of the published objective."""
    rows = published_rows(used=True)
    law = fit_data_constrained(table_of(rows), 0, 0)
    assert law.objective == pytest.approx(0.00658997, rel=1e-4)
    assert law.R_D.value == pytest.approx(26.56, rel=1e-3)
    assert law.R_N.bound == "high"  # excess parameters cost nothing beyond the surface


@pytest.mark.needs_reference
def test_a_decay_that_runs_to_its_bound_has_no_value():
    """On all 296 runs no finite R_D* is best: the law has a bound in place of a number."""
    table = table_of(published_rows(used=False))
    law = fit_data_constrained(table, 0, 0, repeats_surface="muennighoff_c4")
    assert (law.R_D.value, law.R_D.bound) == (None, "high")
    assert (law.R_N.value, law.R_N.bound) == (None, "low")
    assert "term_at_bound" in {flag.code for flag in law.flags}


def test_known_decays_come_back_within_their_intervals():
    """From runs that show them both scales are recovered, with the surface fitted as well."""
    law = fit_data_constrained(repeating(), 60, 0)
    assert law.status == "ok" and law.surface == "fitted"
    assert law.R_D.value == pytest.approx(8, rel=0.15)
    assert law.R_N.value == pytest.approx(4, rel=0.3)
    for found, true in ((law.R_D, 8.0), (law.R_N, 4.0)):
        assert found.ci95[0] < true < found.ci95[1]
    four = next(one for one in law.worth if one.epochs == 4)
    assert four.share.value == pytest.approx((1 + 8 * -np.expm1(-3 / 8)) / 4, rel=0.03)


def test_epochs_serve_where_unique_tokens_are_not_there():
    """A column of epochs says the same."""
    table = repeating()
    epochs = table.tokens / table.columns["unique_tokens"]
    other = fit_data_constrained(replace(table, columns={"epochs": epochs}), 0, 0)
    law = fit_data_constrained(table, 0, 0)
    assert other.R_D.value == pytest.approx(law.R_D.value, rel=1e-4)
    assert other.objective == pytest.approx(law.objective, rel=1e-9)


def test_more_unique_tokens_than_tokens_are_refused():
    """Swapped columns are named, with the first run."""
    law = fit_data_constrained(repeating(swapped=True), 0, 0)
    assert law.status == "refused"
    assert law.reason.startswith("unique_tokens: run-") and "swapped" in law.reason


def test_unique_tokens_in_another_unit_are_refused():
    """Billions beside tokens would be passes by the billion."""
    runs = repeating()
    runs = replace(runs, columns={"unique_tokens": runs.columns["unique_tokens"] / 1e9})
    law = fit_data_constrained(runs, 0, 0)
    assert law.status == "refused" and "units.unique_tokens=1e9" in str(law.reason)


def test_minima_that_say_one_thing_are_not_flagged():
    """Only where R_D* or R_N* of another minimum differs does it matter which is quoted."""
    law = fit_data_constrained(repeating(), 0, 0)
    first = law.minima[0]

    def flagged(**changes):
        found = _flags(replace(law, minima=(first, replace(first, **changes))))
        return "several_minima" in {flag.code for flag in found}

    for name in ("R_D", "R_N"):
        value = getattr(first, name)
        assert [flagged(**{name: factor * value}) for factor in (1.01, 1.3)] == [False, True]
    assert flagged(R_N=None)
    endless = replace(law, minima=(replace(first, R_D=1e5), replace(first, R_D=8e4)))
    assert "several_minima" not in {flag.code for flag in _flags(endless)}
    far = replace(first, R_D=2 * first.R_D, objective=1.1 * first.objective)
    assert not _flags(replace(law, minima=(first, far)))


def test_a_command_with_swapped_columns_ends_refused(tmp_path, capsys):
    """fit.py says which run has more unique tokens than tokens."""
    rows = [
        {"run_id": f"r{i}", "params": 1e7 * 2**i, "tokens": 1e9, "unique_tokens": 4e9, "loss": 3}
        for i in range(8)
    ]
    path = write_csv(tmp_path / "t.csv", rows)
    assert run(f"runs={path}", "laws=[data_constrained]", f"out={tmp_path}/o", "n_bootstrap=0") == 4
    assert "r0 has 4e+09 of 1e+09 tokens (8 of 8 runs)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: replace(table, columns={}), "the table has no column unique_tokens"),
        (
            lambda table: replace(table, columns={"unique_tokens": table.tokens}),
            "0 runs repeat data, at 0 different epochs",
        ),
        (
            lambda table: replace(table, columns={"unique_tokens": np.full(len(table), np.nan)}),
            "unique_tokens: 96 runs have none, as run-000",
        ),
        (
            lambda table: table.take(table.params == 1e7),
            "1 distinct N, expected at least 3 to see an exponent; repeats_surface=",
        ),
    ],
)
def test_runs_that_show_no_repeats_are_refused(change, reason):
    """What is lacking is said."""
    assert fit_data_constrained(change(repeating()), 0, 0).reason.startswith(reason)


def test_runs_without_excess_parameters_leave_R_N_unknown():
    """Where no model is too large for its text, R_N* is not a number."""
    table = repeating(unique=(6.4e10, 2.56e11))
    law = fit_data_constrained(table, 0, 0, repeats_surface="muennighoff_c4")
    assert law.R_N.value is None and law.R_D.value == pytest.approx(8, rel=0.2)
    assert any("R_N* does not show" in flag.text for flag in law.flags)
