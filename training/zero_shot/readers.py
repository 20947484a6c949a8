"""The files of tasks, read strictly: a row that cannot be used is named, never passed over."""

import io
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import parse_json, read_bytes
from training.zero_shot.tasks import Choice

_MOST_BYTES = 1 << 30


def read_hellaswag(path: Path, harness: bool) -> list[Choice]:
    """HellaSwag rows of ctx, endings and label, as they are (llm.c's way) or as the harness asks.

    That is with the activity before the context, whose second part (ctx_b, where the row has it)
    begins with a capital, and without the marks that WikiHow's pages left.
    """
    questions = []
    for where, row in read_json_lines(path):
        endings, label = row.get("endings"), row.get("label")
        if not isinstance(endings, list) or not all(isinstance(text, str) for text in endings):
            raise BadInput(f"{where}: endings: found {endings!r}, expected a list of texts")
        last = len(endings) - 1
        if str(label) not in map(str, range(len(endings))):  # the authors' file has both forms
            raise BadInput(f"{where}: label: found {label!r}, expected 0 to {last}")
        context = _text(row, "ctx", where)
        if harness:
            if "ctx_b" in row:
                second = _text(row, "ctx_b", where).capitalize()
                context = f"{_text(row, 'ctx_a', where)} {second}"
            context = _without_marks(f"{_text(row, 'activity_label', where)}: {context}")
            endings = [_without_marks(text) for text in endings]
        if not all(endings):
            place = endings.index("")
            raise BadInput(f"{where}: endings[{place}]: found no text, expected an answer")
        questions.append(Choice(context, tuple(endings), int(str(label))))
    return questions


def _text(row: dict[str, Any], name: str, where: str) -> str:
    if not isinstance(text := row.get(name), str):
        raise BadInput(f"{where}: {name}: found {text!r}, expected text")
    return text


def _without_marks(text: str) -> str:
    """Without [header], [step] and the like."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def read_passages(path: Path) -> list[str]:
    """LAMBADA passages, rows of {"text"}, each of two words or more."""
    passages = []
    for where, row in read_json_lines(path):
        text = row.get("text")
        if not isinstance(text, str) or " " not in text.strip():
            raise BadInput(f"{where}: text: found {text!r}, expected a passage of several words")
        passages.append(text.strip())
    return passages


def read_text(path: Path) -> str:
    """A text file, .xz too; BadInput where it is not UTF-8, or empty."""
    try:
        raw = read_bytes(path, _MOST_BYTES)
        if path.suffix == ".xz":
            with lzma.open(io.BytesIO(raw)) as file:
                raw = file.read(_MOST_BYTES + 1)
        text = raw.decode()
    except (EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}; expected UTF-8 text") from None
    if len(raw) > _MOST_BYTES:
        raise BadInput(f"{path}: found more than {_MOST_BYTES:,} bytes in it, expected less")
    if not text.strip():
        raise BadInput(f"{path}: found no text")
    return text


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, row) of each line."""
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), 1):
        where = f"{path}:{number}"
        try:
            row = parse_json(line)
        except ValueError as error:
            raise BadInput(f"{where}: {error}; expected a line of JSON") from None
        if not isinstance(row, dict):
            raise BadInput(f"{where}: found no mapping")
        yield where, row
