"""Columns that follow from others: arithmetic over their names, parsed here and never executed."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from common.errors import BadInput
from common.text import listed, plural
from scaling.fit.flags import Flag
from scaling.fit.table.columns import Table

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_LONGEST = 1_000
_GRAMMAR = "numbers, names of columns, + - * / ** and parentheses"
_QUOTED = "; a name with spaces or signs goes in quotes, as \"'train tokens'*1e9\""


def with_derived(
    table: Table,
    formulas: Mapping[str, str],
    columns: Mapping[str, str],
    units: Mapping[str, float],
) -> tuple[Table, tuple[Flag, ...]]:
    """The table with the columns that `formulas` gives by name, and what to know of them.

    `columns` is our name: the table's, and `units` what one unit of ours is: a formula reads our
    names in single units, others as they stand. A row that lacks a part lacks the result, and a
    table that has the column but not its parts keeps it. Raises BadInput.
    """
    trees = {name: _parsed(f"derive.{name}", text, table) for name, text in formulas.items()}
    pending = dict(trees)
    flags = []
    while pending:
        ready = [n for n, tree in pending.items() if not (_names(tree) & set(pending) - {n})]
        if not ready:
            raise BadInput(
                f"derive: {listed(pending)} each need another of them; give one by columns"
            )
        for name in ready:
            tree = pending.pop(name)
            read = {part: columns.get(part, part) for part in _names(tree)}
            absent = sorted(part for part in read if read[part] not in table.names)
            if absent and name in table.names:
                continue
            if absent:
                raise BadInput(
                    f"derive.{name}: {table.source} has no column {absent[0]!r}; it has "
                    f"{listed(table.names)}{_QUOTED}"
                )
            values = {
                part: _numbers(table, f"derive.{name}", theirs)
                * (1.0 if part == name else units.get(part, 1.0))
                for part, theirs in read.items()
            }
            with np.errstate(all="ignore"):
                found = np.broadcast_to(np.asarray(_value(tree, values), float), (len(table),))
            table = table.with_columns({name: np.where(np.isfinite(found), found, np.nan)})
            table = table.with_columns({name: _nulls(table, name)})
            lacking = len(table) - int(table.known(name).sum())
            text = f"{name} is {formulas[name]}, computed"
            if lacking:
                text += f"; {plural(lacking, 'row lacks', 'rows lack')} a part of it"
            flags.append(Flag("derived_column", text))
    return table, tuple(flags)


def _parsed(key: str, text: str, table: Table) -> ast.expr:
    """The tree of a formula, of nothing but what `_value` knows. Raises BadInput."""
    if text in table.names:
        return ast.Constant(text)
    try:
        if len(text) > _LONGEST:
            raise ValueError
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BadInput(f"{key}: found {text!r:.80}, expected {_GRAMMAR}{_QUOTED}") from None
    for node in ast.walk(tree):
        if not _is_known(node):
            power = "; write ** for a power" if isinstance(node, ast.BitXor) else ""
            what = type(node).__name__
            found = repr(node.value) if isinstance(node, ast.Constant) else what
            raise BadInput(f"{key}: found {found:.40} in {text!r:.80}, expected {_GRAMMAR}{power}")
    return tree


def _is_known(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        value: Any = node.value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return isinstance(value, str) or (is_number and abs(value) < 1e300)
    if isinstance(node, ast.Attribute):  # config.n_layer
        return isinstance(node.value, ast.Name | ast.Attribute)
    known = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.USub, ast.UAdd)
    return isinstance(node, known) or type(node) in _BINARY


def _names(tree: ast.expr) -> set[str]:
    """The columns that a formula reads."""
    if isinstance(tree, ast.BinOp):
        return _names(tree.left) | _names(tree.right)
    if isinstance(tree, ast.UnaryOp):
        return _names(tree.operand)
    name = _name(tree)
    return set() if name is None else {name}


def _name(tree: ast.expr) -> str | None:
    """The column that a node names, if it names one."""
    if isinstance(tree, ast.Constant):
        return tree.value if isinstance(tree.value, str) else None
    if isinstance(tree, ast.Attribute):
        return f"{_name(tree.value)}.{tree.attr}"
    assert isinstance(tree, ast.Name)
    return tree.id


def _value(tree: ast.expr, values: Mapping[str, np.ndarray]) -> Any:
    """A formula over columns of (rows,); a constant one is a number."""
    if isinstance(tree, ast.BinOp):
        left, right = _value(tree.left, values), _value(tree.right, values)
        return _BINARY[type(tree.op)](left, right)
    if isinstance(tree, ast.UnaryOp):
        value = _value(tree.operand, values)
        return -value if isinstance(tree.op, ast.USub) else value
    name = _name(tree)
    if name is not None:
        return values[name]
    assert isinstance(tree, ast.Constant)
    return np.float64(tree.value)  # type: ignore[arg-type]


def _numbers(table: Table, key: str, name: str) -> np.ndarray:
    """A column as numbers, nan where it has none. Raises BadInput where it has none at all."""
    column = table.data[name]
    values = table.with_columns({"tokens": column}).numbers_or_nan("tokens")  # as 1.5M
    if not np.isfinite(values).any():
        first = next((text for text in table.texts(name) if text is not None), "nothing")
        raise BadInput(f"{key}: column {name!r} has no number; found {first!r:.40}")
    return values


def _nulls(table: Table, name: str) -> Any:
    """A column of floats with null for nan."""
    values = table.data[name].to_numpy()
    return np.ma.masked_invalid(values).tolist()
