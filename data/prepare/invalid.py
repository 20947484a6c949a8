"""Documents that are no text, where they are left out: counted, the first named, and no more
than a ceiling allows.
"""

from dataclasses import dataclass, field

from common.errors import BadInput
from common.text import plural, shown
from data.prepare.documents import Document

NAMED = 5
MAX_SHARE, MAX_FEW = 0.1, 5  # of the documents read; and so many whatever their share
EARLY = 1000  # so many are looked at before a large corpus is judged by its beginning


@dataclass
class InvalidDocuments:
    """How many were left out, and place and problem of the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, document: Document, read: int) -> None:
        """Count one of now `read` + 1 documents; BadInput once a wrong corpus is plain."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(shown(document.refusal))
        if self.count > EARLY:
            self.require_few(read + 1)

    def require_few(self, read: int) -> None:
        """BadInput where more of `read` documents are invalid than may be."""
        if self.count > max(MAX_FEW, MAX_SHARE * read):
            raise BadInput(
                f"data.skip_invalid: found {self} of {read:,}, expected at most {MAX_FEW} or "
                f"{MAX_SHARE:.0%} of the documents; mend them, or name the right files"
            )

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        return f"{plural(self.count, 'invalid document')} ({'; '.join(self.first)}{more})"
