"""Which tokenizer weights belong to, by digest: another of equal size gives ids of other words.

A checkpoint of a trial states its tokenizer, a learnt one by the SHA-256 of its tokenizer.json, and
so does an export of it. Other weights state none: what lies beside them or is named is taken for
theirs, and without either GPT-2's for 50,257 ids and single bytes for 256; a note says so.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import BadInput
from common.files import digest, file_digest, read_json

TOKENIZER = "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"
_GPT2_VOCABULARY = "5aa8f8e107f60c71"  # `digest` of its ids by word, end-of-text left out
_BY_SIZE = {256: "bytes", 50257: "gpt2"}


@dataclass(frozen=True)
class OwnTokenizer:
    """The tokenizer of weights.

    kind       bytes, gpt2 or bpe (a learnt one)
    sha256     of its tokenizer.json, where that is known
    is_stated  whether the weights state it; else it is assumed
    file       its tokenizer.json, where there is one
    note       what was assumed; else empty
    """

    kind: str
    sha256: str | None = None
    is_stated: bool = True
    file: Path | None = None
    note: str = ""

    def differs_from(self, kind: str, sha256: str | None) -> str | None:
        """How another tokenizer differs from this, as one line; None as far as is known."""
        if self.kind == kind and (None in (self.sha256, sha256) or self.sha256 == sha256):
            return None
        assumed = "" if self.is_stated else " (assumed, for its number of ids)"
        return (
            f"found tokenizer {_named(self.kind, self.sha256)}{assumed}, expected "
            f"{_named(kind, sha256)} of the data: equal ids are other words"
        )


def _named(kind: str, sha256: str | None) -> str:
    return f"{kind} of sha256 {sha256[:16]}..." if sha256 else kind


def by_size(vocab_size: int) -> OwnTokenizer:
    """The tokenizer of weights that do not state theirs: by its number of ids, or a learnt one."""
    return OwnTokenizer(_BY_SIZE.get(vocab_size, "bpe"), is_stated=False)


def with_file(
    own: OwnTokenizer, origin: Path, vocab_size: int, named: str | None = None
) -> OwnTokenizer:
    """The same with its tokenizer.json: the `named` file or folder's, else the one beside `origin`.

    BadInput if that is not theirs.
    """
    file = _file(origin, named)
    if file is None:
        if own.is_stated or own.kind == "bpe":  # a learnt one is missed by whoever needs it
            return own
        note = f"{origin} states no tokenizer: {own.kind} is assumed, for its {vocab_size:,} ids"
        return replace(own, note=note)
    vocabulary, sha256 = _vocabulary(file), file_digest(file)
    if len(vocabulary) + 1 != vocab_size:
        raise BadInput(
            f"tokenizer: {file}: found {len(vocabulary) + 1} ids, expected the model's {vocab_size}"
        )
    if own.sha256 is not None:
        if sha256 != own.sha256:
            raise BadInput(
                f"tokenizer: {file}: found sha256 {sha256[:16]}..., expected {own.sha256[:16]}... "
                f"of the tokenizer that {origin} was trained with; give that one"
            )
        return replace(own, file=file)
    is_gpt2 = digest(vocabulary) == _GPT2_VOCABULARY
    if own.is_stated and own.kind != "bpe":
        if own.kind == "gpt2" and is_gpt2:
            return replace(own, file=file)
        raise BadInput(
            f"tokenizer: {file}: found another tokenizer than {own.kind}, with which {origin} was "
            "trained; leave it out"
        )
    note = "" if is_gpt2 else f"{origin} has no digest of its tokenizer: {file} is taken for it"
    kind = "gpt2" if is_gpt2 else "bpe"
    return OwnTokenizer(kind, None if is_gpt2 else sha256, own.is_stated, file, note)


def _file(origin: Path, named: str | None) -> Path | None:
    if named is None:
        beside = origin / TOKENIZER
        return beside if beside.is_file() else None
    file = Path(named)
    file = file / TOKENIZER if file.is_dir() else file
    if not file.is_file():
        raise BadInput(f"tokenizer: {file}: not found, expected a tokenizer.json")
    return file


def _vocabulary(file: Path) -> dict[str, int]:
    """Ids by word, without end-of-text, which some files have apart."""
    try:
        words = dict(read_json(file)["model"]["vocab"])
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"tokenizer: {file}: found no vocabulary in it") from None
    words.pop(END_OF_TEXT, None)
    return words
