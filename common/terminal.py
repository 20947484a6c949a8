"""Output in the signs that a terminal, or whatever reads it, can show."""

import codecs
import os
import sys
from io import TextIOWrapper

NAME = "nearest_sign"
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))
_SIGNS = {
    **dict.fromkeys("█▇▆▓▒▉▊▋", "#"),
    **dict.fromkeys("▅▄▌▍", "="),
    **dict.fromkeys("▃▂▁░▎▏", "_"),
    **dict.fromkeys("─━═╸╺–—−⠤", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯", "+"),
    **{"·": ".", "•": "*", "×": "x", "…": "...", "\xa0": " "},
    **{"‘": "'", "’": "'", "“": '"', "”": '"'},
    **{"→": "->", "←": "<-", "±": "+-", "≥": ">=", "≤": "<=", "≈": "~", "≠": "!=", "∝": "~"},
    **{"✓": "ok", "✗": "no", "✕": "no", "°": " degrees", "∞": "inf", "√": "sqrt"},
    **{"α": "alpha", "β": "beta", "σ": "sigma", "µ": "u", "μ": "u", "Δ": "delta"},
}


def fit_streams() -> None:
    """Let standard output and error show a near sign where theirs has none, and child processes'.

    A sign that has no near one is escaped, as \\u6587. UTF-8 shows all but what is no text.
    """
    codecs.register_error(NAME, _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=NAME)
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    if not encoding.replace("-", "").startswith("utf8"):
        os.environ["PYTHONIOENCODING"] = f"{encoding}:backslashreplace"


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text, start = error.object, error.start
    return "".join(_sign(text, index) for index in range(start, error.end)), error.end


def _sign(text: str, index: int) -> str:
    sign = text[index]
    if sign in _RAISED:
        is_first = index == 0 or text[index - 1] not in _RAISED
        return "^" * is_first + _RAISED[sign]
    return _SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode()
