"""Which module of the project imports which."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("common", "configs", "model", "data", "training", "scaling", "benchmarks")


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its name; a package's name is its __init__."""
    paths = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return {n.removesuffix(".__init__"): path for n, path in zip(names, paths, strict=True)}


@cache
def imports(path: Path) -> frozenset[str]:
    """Names of modules imported anywhere in a file, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else node.module for name in inner}
    return frozenset(found)
