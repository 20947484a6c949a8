"""The explorer in a real browser: its numbers are those of the Python functions to 1e-6."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.other_laws.published import DataConstrained, budget_of_loss, inference_optimum
from scaling.fit.predict import BENDS
from scaling.report.explorer import explorer_values
from scaling.report.literature import published_laws
from scaling.report.optimum import optima
from scaling.report.text.budget import ONE_DAY
from tests.support.browser import Browser
from tests.support.report_example import page_of, study

pytestmark = pytest.mark.needs_browser

SURFACES = {key: law for key, law in PUBLISHED.items() if isinstance(law, Surface)}
FORMS = {
    "coupled": Surface(1.7, 2e5, 4e6, 0.7, 0.75, k=0.5),
    "bounded": Surface(0.9, 40.0, 60.0, 0.3, 0.33, ceiling=5.545),
}
DRAWN = "document.querySelector('#plot-explorer')?.classList.contains('js-plotly-plot')"
QUESTION = {
    "device": "H200",
    "count": 1,
    "mfu": 40,
    "price": 3,
    "inference": None,
    "unique": None,
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(study(), tmp_path_factory.mktemp("explorer"))


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        found.call("Page.navigate", url=page.as_uri())
        found.wait(DRAWN)
        yield found


def _rows(browser: Browser, **question: Any) -> dict[str, dict[str, Any]]:
    asked = json.dumps(QUESTION | question)
    rows = browser.evaluate(f"answer({asked})")
    return {row["law"]["key"]: row for row in rows}


@pytest.mark.parametrize("flops", [3e11, 1e18, 5.76e23])
def test_every_law_allocates_as_in_python(browser: Browser, flops: float) -> None:
    rows = _rows(browser, by="flops", flops=flops)
    assert len(rows) == 7
    for law in published_laws():
        row, n, d = rows[law.key], law.n.at(flops), law.d.at(flops)
        loss = None if law.loss is None else pytest.approx(law.loss.predict_loss(n, d), rel=1e-6)
        far = law.range and max(flops / law.range[1], law.range[0] / flops) > 1000
        guessing = law.loss and law.loss.predict_loss(n, d) > np.log(50257)
        assert ("refused" in row) == bool(far or guessing)
        if not far:
            assert (row["n"], row["d"]) == pytest.approx((n, d), rel=1e-6) and row["loss"] == loss
    for key, own in optima(study()).items():
        if flops > 1000 * own.high:
            assert rows[key]["refused"] == "no answer" and "n" not in rows[key]
        else:
            found = own.at(np.array([flops]))
            assert rows[key]["n"] == pytest.approx(found["n"][0], rel=1e-6)
            assert rows[key]["d"] == pytest.approx(found["d"][0], rel=1e-6)


def test_intervals_are_those_of_python_and_hold_their_estimates(browser: Browser) -> None:
    for flops in np.geomspace(2.5e10, 3e12, 7):
        rows = _rows(browser, by="flops", flops=float(flops))
        for key, law in optima(study()).items():
            for name in ("n", "d", *(["loss"] if law.surface else [])):
                ends = rows[key]["ends"][name]
                assert ends == pytest.approx(law.ends(name, np.array([flops]))[:, 0], rel=1e-6)
                assert ends[0] < rows[key][name] < ends[1]


def test_days_money_size_and_data_become_compute(browser: Browser) -> None:
    day = _rows(browser, by="days", days=1)["besiroglu"]
    assert day["flops"] == pytest.approx(ONE_DAY, rel=1e-9)
    assert (day["hours"], day["cost"]) == pytest.approx((24, 72))
    four = _rows(browser, by="days", days=0.5, count=4)["besiroglu"]
    assert four["flops"] == pytest.approx(2 * ONE_DAY) and four["hours"] == pytest.approx(12)
    paid = _rows(browser, by="money", money=72)["besiroglu"]
    assert paid["flops"] == pytest.approx(ONE_DAY, rel=1e-9)
    for law in published_laws():
        size = _rows(browser, by="n", n=7e10)[law.key]
        assert size["flops"] == pytest.approx(np.exp(law.n.log_budget(7e10)), rel=1e-6)
        assert "refused" not in size
        assert size["d"] == pytest.approx(law.d.at(size["flops"]), rel=1e-6)
        data = _rows(browser, by="d", d=1.4e12)[law.key]
        assert data["flops"] == pytest.approx(np.exp(law.d.log_budget(1.4e12)), rel=1e-6)


@pytest.mark.parametrize("served", [1e9, 1e12, 1e14])
def test_serving_is_counted_as_sardana_et_al_count_it(browser: Browser, served: float) -> None:
    rows = _rows(browser, by="flops", flops=1e22, inference=served)
    for key in ("hoffmann", "besiroglu", "muennighoff_c4"):
        n, d = inference_optimum(SURFACES[key], rows[key]["loss"], served)
        found = rows[key]["serving"]
        assert (found["n"], found["d"]) == pytest.approx((n, d), rel=1e-6)
        plain = 6 * rows[key]["n"] * rows[key]["d"] + 2 * rows[key]["n"] * served
        assert found["saved"] == pytest.approx(1 - (6 * n * d + 2 * n * served) / plain, abs=1e-6)
    assert "serving" not in rows["kaplan"]


@pytest.mark.parametrize("unique", [1e9, 1e11, 1e13])
def test_repeats_are_worth_what_muennighoff_et_al_found(browser: Browser, unique: float) -> None:
    rows = _rows(browser, by="flops", flops=1e22, unique=unique)
    for key in ("hoffmann", "besiroglu", "muennighoff_c4"):
        law = DataConstrained(SURFACES[key])
        n, d = law.optimal_allocation(1e22, unique)
        found = rows[key]["repeating"]
        assert (found["n"], found["d"]) == pytest.approx((n, d), rel=1e-6)
        assert found["loss"] == pytest.approx(law.predict_loss(n, d, unique), rel=1e-6)
        assert found["epochs"] == pytest.approx(max(1, d / unique), rel=1e-6)


def test_a_model_costs_what_it_takes_over_the_least(browser: Browser) -> None:
    rows = _rows(browser, by="model", n=7e9, d=1e12, d2=1.4e11)
    for key, surface in SURFACES.items():
        if key not in rows:
            continue
        for model, tokens in zip(rows[key]["models"], (1e12, 1.4e11), strict=True):
            loss = surface.predict_loss(7e9, tokens)
            penalty = 6 * 7e9 * tokens / budget_of_loss(surface, loss) - 1
            assert model["loss"] == pytest.approx(loss, rel=1e-6)
            assert model["penalty"] == pytest.approx(penalty, rel=1e-6) and penalty > 0


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_the_surface_are_read_alike(browser: Browser, form: str) -> None:
    surface = FORMS[form]
    law = json.dumps({"surface": {name: value for name, value in vars(surface).items()}})
    loss = browser.evaluate(f"predictLoss({law}, 1e9, 2e10)")
    assert loss == pytest.approx(surface.predict_loss(1e9, 2e10), rel=1e-9)
    least = browser.evaluate(f"leastFlops({law}.surface, reach({law}.surface, 1e9, 2e10))")
    assert least == pytest.approx(budget_of_loss(surface, loss), rel=1e-6)
    best = browser.evaluate(
        f"inferenceOptimum({law}.surface, reach({law}.surface, 1e9, 2e10), 1e12)"
    )
    assert (best["n"], best["d"]) == pytest.approx(inference_optimum(surface, loss, 1e12), rel=1e-6)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("1e20", 1e20),
        ("1,000", 1000),
        ("70B", 7e10),
        ("1.4T tokens", 1.4e12),
        ("1e20 FLOP", 1e20),
        ("5 PF-days", 4.32e20),
        (" .5M ", 5e5),
        ("abc", None),
        ("-5", None),
        ("0", None),
        ("1e999", None),
        ("1e300", None),
        ("1e-300", None),
        ("7 apples", None),
        ("1,5", None),
        ("12,34", None),
    ],
)
def test_an_amount_is_read_as_people_write_it(browser: Browser, typed: str, read: Any) -> None:
    assert browser.evaluate(f"amount({json.dumps(typed)})") == read


def test_a_question_is_one_click_and_a_link_asks_it_again(browser: Browser, page: Path) -> None:
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=page.as_uri())  # without what others have typed
    browser.wait(DRAWN)
    asked = {}
    for index, expected in enumerate(("by=days", "flops=8e12", "flops=8e13", "n=70B", "d2=140B")):
        browser.evaluate(f"document.querySelectorAll('#explore-questions button')[{index}].click()")
        fragment = browser.evaluate("location.hash")
        assert fragment.startswith("#explorer?") and expected in fragment
        asked[fragment] = browser.evaluate("document.querySelector('#explore-answers').innerText")
    assert len(set(asked.values())) == 5
    for fragment, told in [*asked.items()][::3]:
        browser.call("Page.navigate", url="about:blank")
        browser.call("Page.navigate", url=page.as_uri() + fragment)
        browser.wait(DRAWN)
        again = browser.evaluate("document.querySelector('#explore-answers').innerText")
        assert again.splitlines()[1] == told.splitlines()[1]
    browser.evaluate(
        "byId('explore-by').value = 'flops'; byId('explore-flops').value = 'abc';"
        "byId('explore-inputs').dispatchEvent(new Event('input'))"
    )
    told = browser.evaluate("byId('explore-status').textContent")
    assert "no number" in told
    assert browser.evaluate("byId('explore-flops').getAttribute('aria-invalid')") == "true"


STATUS = "byId('explore-status').textContent"


@pytest.mark.parametrize(
    ("name", "typed", "by", "told"),
    [
        ("price", "0", "flops", "cost 0."),
        ("price", "0", "money", "no number"),
        ("price", ".", "flops", "no number"),
        ("mfu", "150", "flops", "MFU is at most 100%."),
        ("mfu", "0", "flops", "no number"),
    ],
)
def test_a_price_may_be_nothing_and_mfu_at_most_all(
    browser: Browser, page: Path, name: str, typed: str, by: str, told: str
) -> None:
    """Own devices cost nothing; what nothing buys is no question."""
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=f"{page.as_uri()}#explorer?by={by}&{name}={typed}")
    browser.wait("document.readyState === 'complete' && location.protocol === 'file:'")
    assert told in browser.evaluate(STATUS)
    is_refused = "cost" not in told
    invalid = browser.evaluate(f"byId('explore-{name}').getAttribute('aria-invalid')")
    assert invalid == str(is_refused).lower()


def test_no_fragment_stops_the_page_and_a_link_asks_the_same_in_an_open_one(
    browser: Browser, page: Path
) -> None:
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=page.as_uri() + "#%E0%A4%A")
    browser.wait("document.readyState === 'complete' && location.protocol === 'file:'")
    assert browser.evaluate(STATUS).startswith("8e11 FLOP: ")
    for fragment, field, value in (
        ("explorer?by=n&n=70B", "by", "n"),
        ("explorer?by=zzz&device=QQ&days=%", "by", "flops"),
        ("explorer?flops=1e%2B12", "flops", "1e+12"),
    ):
        browser.evaluate(f"location.hash = '#{fragment}'")
        browser.wait(f"byId('explore-{field}').value === '{value}'", 10)
    assert browser.evaluate("byId('explore-device').value") == "H200"
    assert browser.evaluate(STATUS).startswith("1e12 FLOP: ")


def test_a_bent_frontier_is_said_beyond_its_budgets(browser: Browser) -> None:
    def bend(document: dict[str, Any]) -> None:
        document["laws"]["isoflop"]["flags"] = [{"code": "bent_frontier", "text": "it bends"}]

    (law,) = (one for one in explorer_values(study(bend))["laws"] if one["key"] == "isoflop")
    low, high = law["range"]
    said = [
        browser.evaluate(f"saidOf(allocate({json.dumps(law)}, {{by: 'flops', flops: {flops}}}))")
        for flops in (low / 3, high, 10 * high)
    ]
    assert [BENDS in text for text in said] == [True, False, True]
    assert not any(one["doubt"] for one in explorer_values(study())["laws"] if one["own"])


def test_a_law_of_no_loss_is_asked_for_the_budget_of_the_size(browser: Browser) -> None:
    """Not for that of the model: how far it reaches is said of the answer that it gives."""
    law = optima(study())["isoflop"]
    for size_at, trained_at in ((law.high, 100 * law.high), (20 * law.high, law.high)):
        n = float(law.at(np.array([size_at]))["n"][0])
        row = _rows(browser, by="model", n=n, d=trained_at / (6 * n), d2=None)["isoflop"]
        assert row["beyond"] == pytest.approx(size_at / law.high, rel=1e-6)


def test_a_loss_in_bits_says_so(browser: Browser) -> None:
    def in_bits(document: dict[str, Any]) -> None:
        document["options"]["loss_unit"] = "bpb"

    values = json.dumps(explorer_values(study(in_bits))["laws"])
    told = browser.evaluate(f"""
        {values}.filter((law) => law.surface).map((found) => {{
          const law = {{ ...found, range: null }}; // 1e11 FLOP are too few for published laws
          const row = allocate(law, {{by: "flops", flops: 1e11, unique: 1e5}});
          const model = {{ law, models: [judgeModel(law, 1e4, 1e6)] }};
          const cells = [...columnsOf({{unique: 1e5}}), ...modelColumns({{n: 1e4, d: 1e6}})];
          return [cells[3][1](row), cells[4][1](row), cells[5][1](model)];
        }})
    """)
    assert all("bits per byte" in cell for cell in told[0])
    assert not any("bits" in cell for law in told[1:] for cell in law)
