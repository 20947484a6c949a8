"""The BibTeX of the laws that a fit used."""

import re
from functools import cache
from pathlib import Path

from scaling.fit.registry import LAWS
from scaling.fit.results import FitDocument


def bibliography(document: FitDocument) -> str:
    """The entries of the laws of a fit that have numbers, and of the table set beside them."""
    standing = (name for name, law in document.laws.items() if law.status != "refused")
    keys = {key for name in standing for key in LAWS[name].cites}
    if document.ladder.rows:
        keys.add("hoffmann2022training")
    return "\n".join(text for key, text in entries().items() if key in keys)


@cache
def entries() -> dict[str, str]:
    """Every entry by its key, in the order of the file."""
    text = (Path(__file__).parent / "laws.bib").read_text(encoding="utf-8")
    found = re.findall(r"^@\w+\{([^,]+),.*?^\}\n", text, re.MULTILINE | re.DOTALL)
    parts = re.findall(r"^@.*?^\}\n", text, re.MULTILINE | re.DOTALL)
    return dict(zip(found, parts, strict=True))
