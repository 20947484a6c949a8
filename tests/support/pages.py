"""What a page of the documentation shows to type and to read."""

import re


def blocks(page: str, kind: str) -> list[str]:
    """The fenced blocks of a page that are of one language, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
