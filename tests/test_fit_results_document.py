"""fit.json is its types: what is read is written again, and the schema is theirs."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import BadInput
from common.files import to_json
from scaling.fit.compare import compared
from scaling.fit.pipeline import fit
from scaling.fit.results import FitDocument
from tests.support.fit_examples import config, tuned_rows, write_csv
from tests.support.fit_runs import table
from tests.support.json_schema import problems

CURVES = [
    {
        "run_id": f"r{n:g}",
        "params": n,
        "tokens": d,
        "loss": 2 + 90 * n**-0.3 + 300 * d**-0.3,
        "step": d,
    }
    for n in (1e6, 2e6, 4e6, 8e6)
    for d in np.geomspace(1e7, 1e9, 40)
]


def rows_of(kind: str, folder: Path) -> Path:
    """A table of each kind, which has laws of its own."""
    if kind == "grid":
        return table(folder)
    if kind == "refused":
        return table(folder, budgets=1, sizes=3)
    return write_csv(folder / "t.csv", tuned_rows() if kind == "tuned" else CURVES)


@pytest.mark.parametrize("kind", ["grid", "refused", "tuned", "curves"])
def test_fit_document_reads_what_it_wrote(kind: str, tmp_path: Path) -> None:
    """Every law, standing and refused, is the same after a fit.json."""
    path = rows_of(kind, tmp_path)
    asked = config(f"runs={path}", "n_bootstrap=40", "predict.pairs=[[1e8,1e9]]", "holdout=top")
    found = fit(asked).document
    written = tmp_path / "fit.json"
    written.write_text(to_json(found.to_json()))
    assert FitDocument.read(written) == found
    values = json.loads(written.read_text())
    assert problems(values) == []
    again = FitDocument.from_json(values).to_json()
    assert again == values and json.dumps(again) == json.dumps(values)  # keys in their order


def test_fit_document_reads_a_comparison(tmp_path: Path) -> None:
    path = table(tmp_path)
    asked = config(f"runs={path}", f"compare='{path}'", "n_bootstrap=40")
    values = compared(fit(asked), asked).document.to_json()
    assert problems(values) == []
    assert "residuals" not in values["comparison"]["other_fit"]["laws"]["parametric"]
    assert FitDocument.from_json(values).to_json() == values


def test_fit_document_read_names_the_file(tmp_path: Path) -> None:
    """Read names the file."""
    path = tmp_path / "fit.json"
    path.write_text("{}")
    with pytest.raises(BadInput, match="fit.json: .* missing; .* of this version"):
        FitDocument.read(path)


@pytest.mark.parametrize("flops", [0.0, -0.0, -1e18])
def test_fit_document_refuses_a_budget_of_nothing(flops: float, tmp_path: Path) -> None:
    """Figures are drawn over log C."""
    asked = config(f"runs={table(tmp_path)}", "n_bootstrap=40", "predict.flops=[1e20]")
    text = json.dumps(fit(asked).document.to_json())
    for place in ("laws.isoflop.valleys", "predictions"):
        values = json.loads(text)
        rows = values["laws"]["isoflop"]["valleys"] if "laws" in place else values["predictions"]
        rows[0]["flops"] = flops
        with pytest.raises(BadInput, match=rf"{place}\.0\.flops: found .*, expected more than 0"):
            FitDocument.from_json(values)
