"""What a file that is not what was expected seems to be, by its first bytes."""

from pathlib import Path

_SIGNATURES = (
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ\0", "an xz file; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first"),
    (b"PK\x03\x04", "a zip archive (spreadsheets, torch.save and .npz are such)"),
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format", "an SQLite database"),
    (b"MMIDIDX", "a Megatron index"),
    (b"\xff\xfe", "text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16; save it as UTF-8"),
    (b"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
)
_LONGEST = 64  # bytes that suffice


def looks_like(head: bytes) -> str | None:
    """What a file seems to be that begins with `head`, and what to do; None for plain bytes."""
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page"
    return None


def why_unreadable(path: Path, error: Exception) -> str:
    """What a file looks like and what to do, or else its reader's own words, in one line."""
    try:
        with path.open("rb") as file:
            look = looks_like(file.read(_LONGEST))
    except OSError:
        look = None
    if look and not look.startswith("a zip"):  # which may be what was expected, and damaged
        return f"looks like {look}"
    return f"cannot be read: {type(error).__name__}: {error}".partition("\n")[0]
