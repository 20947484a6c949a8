"""A file or a folder is there whole, or not at all."""

import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from common.errors import BadInput
from common.files import parse_json, read_json, remove_temporaries, write_atomic, write_once
from tests.support.kill_harness import fork


def test_write_once_never_replaces(tmp_path: Path) -> None:
    """A file written once is never replaced."""
    assert write_once(tmp_path / "one", "first")
    assert not write_once(tmp_path / "one", "second")
    assert (tmp_path / "one").read_text() == "first"


@pytest.mark.parametrize(
    "text",
    ["NaN", "1e999", "9" * 400, '{"a": 1, "a": 2}', '"\\ud800"', "[" * 100_000, "\ufeff{}", "1 2"],
)
def test_parse_json_refuses_what_python_alone_reads(text):
    """Each is a ValueError of one line, and none ends the process."""
    with pytest.raises(ValueError) as error:
        parse_json(text)
    assert "\n" not in str(error.value)


def test_parse_json_refuses_any_depth_in_one_way():
    """Writing nests a little deeper than reading, so that a depth may be read and not written."""
    for depth in range(900, 1001):
        with suppress(ValueError):
            parse_json("[" * depth + r'"\u00e9"' + "]" * depth)


def test_parse_json_reads_pairs_of_surrogates_and_large_counts():
    assert parse_json('{"a": "\\ud83d\\ude00", "b": 1e300}') == {"a": "\U0001f600", "b": 1e300}
    assert parse_json(str(10**26)) == 10**26


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a device", "not found", "bytes"])
def test_read_json_refuses_what_is_no_file(tmp_path, what):
    """What would never end is not begun."""
    path = tmp_path / "x.json"
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a device":
        path.symlink_to("/dev/zero")
    elif what == "bytes":
        with path.open("wb") as file:
            file.truncate(2 << 30)
    with pytest.raises(BadInput, match=f"x.json: .*{what}"):
        read_json(path)


def test_remove_temporaries_harms_no_writer(tmp_path):
    """Files are written whole while another process removes what it takes for leftovers."""
    over = threading.Event()

    def clean() -> None:
        while not over.is_set():
            remove_temporaries(tmp_path)

    thread = threading.Thread(target=clean)
    thread.start()
    try:
        for number in range(60):
            write_atomic(tmp_path / "often", str(number))
            assert (tmp_path / "often").read_text() == str(number)
            assert write_once(tmp_path / f"once{number}", "x")
    finally:
        over.set()
        thread.join()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.needs_root
def test_remove_temporaries_leaves_what_another_user_wrote(tmp_path):
    """In a folder that two users share what may not be removed stays, without an error."""
    with tempfile.TemporaryDirectory() as name:  # of pytest's own folders others see nothing
        shared = Path(name)
        shared.chmod(0o1777)
        (shared / ".config.yaml.a.tmp").write_text("")

        def other_user() -> None:
            os.setuid(65534)
            (shared / ".config.yaml.b.tmp").write_text("")
            remove_temporaries(shared)

        child = fork(other_user, tmp_path / "log")
        assert child.wait() == 0, child.log.read_text()
        assert [path.name for path in shared.glob(".*")] == [".config.yaml.a.tmp"]


def test_write_atomic_writes_names_that_the_locale_has_no_letters_for(tmp_path):
    """As an ASCII locale holds them: `é` whole, and a byte that is no UTF-8 as U+FFFD."""
    name = "données".encode().decode("ascii", "surrogateescape")
    write_atomic(tmp_path / "a", f"{name} \udcff")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "données \ufffd"
