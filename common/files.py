"""How files and folders are written: whole or not at all; JSON that any reader accepts; digests.

rename and link are atomic on a local and on a network file system, so a reader never sees half of
a file and a file that must appear once cannot be replaced.
"""

import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from math import inf, isfinite
from pathlib import Path
from typing import Any

from common.errors import BadInput

DIGEST = "digest"  # the key of a JSON object's own digest
MOST_BYTES = 1 << 28  # of a file that is held in memory whole
_MOST_DIGITS = 300  # a float holds 308
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device"}
_SOMETHING_THERE = "out: {}: found something there, expected a new file; choose another"


def write_atomic(path: Path, content: str | bytes, make_folder: bool = True) -> None:
    """Write `content` to `path` so that the old or the new file is there at any moment.

    OSError where its folder does not exist and `make_folder` is False.
    """
    _place(path, content, os.replace, make_folder)


def write_once(path: Path, content: str | bytes) -> bool:
    """Write `path` unless it exists; True if this call made it."""
    try:
        _place(path, content, os.link)
    except FileExistsError:
        return False
    return True


def remove_temporaries(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; who still writes does so again.

    What may not be removed, another user's in a shared folder say, stays.
    """
    for path in folder.glob(".*.tmp"):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as that is there and may be removed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def require_new_file(out: Path) -> None:
    """Refuse, before the work, a command's `out` that is there or has no folder to write it in."""
    try:
        is_there = out.exists() or out.is_symlink()
        folder = next(parent for parent in out.absolute().parents if parent.exists())
    except OSError as error:  # a folder that may not be looked into, a name too long
        raise BadInput(f"out: {out}: {error.strerror}; choose a folder to write in") from None
    if is_there:
        raise BadInput(_SOMETHING_THERE.format(out))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        found = "a folder without leave to write" if folder.is_dir() else "a file"
        raise BadInput(f"out: {folder}: found {found}, expected a folder to write {out.name} in")


def write_new_file(out: Path, content: str) -> None:
    """Write a command's `out`; BadInput where it appeared meanwhile or the disk refuses."""
    try:
        if write_once(out, content):
            return
    except OSError as error:
        raise BadInput(f"out: {out}: {error.strerror}; choose another place") from None
    raise BadInput(_SOMETHING_THERE.format(out))


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: Any) -> str:
    """Strict JSON (no NaN, no Infinity), two spaces deep, ending in a newline."""
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def parse_json(text: str | bytes) -> Any:
    """The value of strict JSON in UTF-8; ValueError for anything else.

    That includes what Python's reader lets pass: NaN, numbers that no float holds, a key that
    stands twice in one object, half a surrogate pair.
    """
    text = text if isinstance(text, str) else text.decode("utf-8")
    if text.startswith("\ufeff"):
        raise ValueError("begins with a byte-order mark; save it as UTF-8 without one")
    try:
        value = _STRICT.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:  # writing nests a little deeper than reading
        raise ValueError("nested too deeply") from None
    return value


def digest(value: Any) -> str:
    """The first 16 hex digits of SHA-256 over canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a digest over it, by which a reader sees that a byte has changed."""
    content = {key: value for key, value in values.items() if key != DIGEST}
    return {**content, DIGEST: digest(content)}


def digest_holds(values: Mapping[str, Any]) -> bool | None:
    """Whether parsed values are as `with_digest` left them; None where they carry no digest."""
    if values.get(DIGEST) is None:
        return None
    try:
        return with_digest(values)[DIGEST] == values[DIGEST]
    except (ValueError, RecursionError):  # what no writer wrote
        return False


def require_digest(path: Path, values: Mapping[str, Any], remedy: str) -> None:
    """BadInput where the values in a file differ from their own digest."""
    if digest_holds(values) is False:
        raise BadInput(f"{path}: differs from its own digest, so a byte has changed; {remedy}")


def require_file(path: Path, most: float = inf) -> int:
    """The size of a file; BadInput unless there is one, of at most `most` bytes.

    A folder is no file, nor is a device or a pipe, which might never end.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise BadInput(f"{path}: not found") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise BadInput(f"{path}: found {kind}, expected a file")
    if status.st_size > most:
        raise BadInput(f"{path}: found {status.st_size:,} bytes, expected at most {most:,.0f}")
    return status.st_size


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file; BadInput where none is to be had, or more than `most` bytes."""
    require_file(path, most)
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex; BadInput if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """Parse strict JSON; BadInput names the file and the place where it is not."""
    content = read_bytes(path)
    try:
        return parse_json(content)
    except ValueError as error:
        raise BadInput(f"{path}: not strict JSON: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text:.20}: expected a finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text:.20}...: a number of {len(text)} digits")
    return int(text)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r:.60} stands twice")
    return values


_STRICT = json.JSONDecoder(
    parse_constant=_refuse_constant,
    parse_float=_finite,
    parse_int=_whole,
    object_pairs_hook=_each_once,
)


def _utf8(text: str) -> bytes:
    """UTF-8, with the letters of names that the locale has none for; other bytes of such as U+FFFD.

    Under an ASCII locale Python holds each byte of `é` in a name as a lone surrogate.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode(errors="replace").encode()


def _place(path: Path, content: str | bytes, move: Any, make_folder: bool = True) -> None:
    data = _utf8(content) if isinstance(content, str) else content
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        name = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
        try:
            with open(name, "xb") as file:  # its mode follows the umask, which mkstemp's does not
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return move(name, path)
        except FileNotFoundError:
            if name.exists() or not path.parent.exists():
                raise
            # Removed by a process that took it for a dead writer's: written again.
        finally:
            remove(name)
