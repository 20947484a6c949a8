"""A fit of nothing, to which a test adds the parts that it is about."""

from dataclasses import replace
from typing import Any

from scaling.fit.results import FitDocument
from scaling.fit.results.checks import Diagnostics, Holdout, Outliers
from scaling.fit.results.document import (
    SCHEMA,
    Convention,
    Inputs,
    Ladder,
    Options,
    Provenance,
)
from scaling.fit.results.estimate import UNKNOWN

HELD = Holdout("none", "not asked for", None, None, UNKNOWN, None, None, None, None, (), None)
OPTIONS = Options("huber", 1e-3, "none", "top", 400, 0, 0, "nats", 0.2)
EMPTY = FitDocument(
    schema=SCHEMA,
    status="ok",
    inputs=Inputs(0, 0, 0, 0, (), None),
    options=OPTIONS,
    provenance=Provenance((), False, "3.11", "2.4", "1.17", "2026-01-01T00:00:00+00:00"),
    convention=Convention("given", "given"),
    warnings=(),
    laws={},
    conventions=(),
    predictions=(),
    answers=(),
    ladder=Ladder("none", "no law stands to fill the table", ()),
    diagnostics=Diagnostics((), (), Outliers("a rule", (), ())),
    holdout=HELD,
)


def document(**parts: Any) -> FitDocument:
    """The empty fit with these parts."""
    return replace(EMPTY, **parts)
