"""From YAML groups and overrides to frozen dataclasses, strictly.

Hydra's compose API merges the files; `build` alone decides what is accepted, so that a misspelt
key is refused in a file as on the command line. (Hydra's application decorator is not used: it
turns every status into 0 or 1 and makes folders in each rank.)
"""

import argparse
import difflib
import os
import signal
import sys
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from configs.check import check_folder
from configs.errors import BadInput, ExitStatus, StopRequested, shown
from configs.explain import explain
from configs.overrides import for_hydra

CONFIG_DIR = Path(__file__).resolve().parent
# Fields of a trial and of its commands that name a file or a folder.
TRIAL_PATHS = ("out", "data.path", "init_from", "runtime.data_dir", "runtime.stage")
T = TypeVar("T")


@dataclass(frozen=True)
class Arguments:
    """What was typed: where the root config lies, and overrides in Hydra's grammar."""

    root: str
    overrides: tuple[str, ...]
    config_dir: Path

    def compose(
        self,
        open_keys: Sequence[str] = (),
        path_keys: Sequence[str] = TRIAL_PATHS,
        map_keys: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The merged config as plain containers; see `compose_config`."""
        return compose_config(
            self.root, self.overrides, self.config_dir, open_keys, path_keys, map_keys
        )


def run_entry(
    main: Callable[[Arguments], int], root: str, description: str, argv: Sequence[str] | None = None
) -> int:
    """Parse the command line, call `main`, and turn its end into an exit status (see ExitStatus).

    Under torchrun rank 0 alone prints what a user can mend.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=_choices(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-dir", type=Path, help="the only folder searched for configs")
    parser.add_argument("--config-name", help=f"the root config (default: {root})")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of input errors")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.error = _refuse_arguments  # type: ignore[method-assign]
    debug = "--debug" in (sys.argv[1:] if argv is None else argv)

    def call() -> int:
        arguments = parser.parse_intermixed_args(argv)
        config_dir = (arguments.config_dir or CONFIG_DIR).absolute()
        overrides = tuple(arguments.overrides)
        return main(Arguments(arguments.config_name or root, overrides, config_dir))

    return exit_status(call, debug)


def exit_status(call: Callable[[], int], debug: bool = False) -> int:
    """What a command ends in, with one line on standard error for what a user can mend."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # configs/interrupt.py
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return int(call())
    except BadInput as error:
        if debug:
            traceback.print_exc()
        elif _speaks():
            print("error: " + shown(" ".join(str(error).split())), file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except StopRequested as request:
        if _speaks():
            print(f"stopped: {request}", file=sys.stderr)
        return ExitStatus.STOPPED
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def compose_config(
    root: str,
    overrides: Sequence[str] = (),
    config_dir: Path = CONFIG_DIR,
    open_keys: Sequence[str] = (),
    path_keys: Sequence[str] = TRIAL_PATHS,
    map_keys: Sequence[str] = (),
) -> dict[str, Any]:
    """Merge `root`.yaml, its groups and `overrides` into plain containers.

    `open_keys` may be given though no file has them (a command's own keys); values of `path_keys`
    are taken literally, `=` and commas included. What follows `where.` for a `map_keys` of
    ("where",) is a name of the user's, with any dots and spaces, and its value is text as typed,
    null, or a list of them in brackets; quotes keep brackets, commas and null as text.
    Interpolation reaches other keys only, never the environment. Raises BadInput.
    """
    if not (config_dir / f"{root}.yaml").is_file():
        raise BadInput(f"{config_dir / root}.yaml: not found; --config-dir and --config-name say")
    check_folder(config_dir, root, overrides)
    lines, maps = for_hydra(overrides, open_keys, path_keys, map_keys)
    OmegaConf.clear_resolver("oc.env")
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(config_dir), version_base="1.3", job_name=root):
            values = OmegaConf.to_container(
                compose(config_name=root, overrides=lines), resolve=True, throw_on_missing=True
            )
    except Exception as error:  # some malformed values trip Hydra itself: TypeError, AssertionError
        raise BadInput(explain(error, overrides, root, config_dir)) from error
    assert isinstance(values, dict)
    merged = {str(key): value for key, value in values.items()}
    return merged | {group: merged.get(group, {}) | named for group, named in maps.items()}


def build(cls: type[T], values: Any, where: str = "") -> T:
    """A frozen dataclass from plain containers; BadInput names field, value and what was expected.

    Every field of `cls` without a default must be there, and nothing else. Whole floats (3e8) are
    accepted for int; text is never read as a number.
    """
    if not isinstance(values, Mapping):
        raise BadInput(f"{where or cls.__name__}: found {values!r}, expected a group of fields")
    known = _fields(cls)  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            expected = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(known)}"
            raise BadInput(f"{prefix}{key}: unknown key; {expected}")
    arguments = {}
    for name, (hint, has_default, as_it_is) in known.items():
        if name in values:
            value, kind = values[name], type(values[name])
            plain = kind in as_it_is and (kind is not float or isfinite(value))
            arguments[name] = value if plain else _convert(hint, value, prefix + name)
        elif not has_default:
            raise BadInput(f"{prefix}{name}: missing; it has no default")
    return cls(**arguments)


@cache
def _fields(cls: Any) -> dict[str, tuple[Any, bool, frozenset[type]]]:
    """Type, whether there is a default, and the types of values that are taken as they are.

    Found once, since a plan has thousands of trials and a sweep as many records.
    """
    hints, none = get_type_hints(cls), (MISSING, MISSING)
    return {
        f.name: (hints[f.name], (f.default, f.default_factory) != none, _as_it_is(hints[f.name]))
        for f in fields(cls)
    }


def _as_it_is(hint: Any) -> frozenset[type]:
    """For a scalar, or one that may be None, its very type: most values need no conversion."""
    options = set(get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,))
    scalars = options - {type(None)}
    return frozenset(options if len(scalars) == 1 and scalars <= {int, float, str, bool} else ())


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint in (int, float, str, bool):
        return _scalar(hint, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        if len(options) == 1:
            return _convert(options[0], value, where)
        within: BadInput | None = None
        for option in options:
            try:
                return _convert(option, value, where)
            except BadInput as error:
                # Of a list or a group the refusal says which part is wrong.
                is_list = get_origin(option) is tuple and isinstance(value, list | tuple)
                if is_list or (is_dataclass(option) and isinstance(value, Mapping)):
                    within = error
        raise within or _refusal(where, value, ", or ".join(dict.fromkeys(map(_expected, options))))
    if origin is Literal:
        if type(value) is not bool and value in arguments:
            return value
        raise _refusal(where, value, _expected(hint))
    if is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _refusal(where, value, "a list")
        if arguments[-1] is not Ellipsis and len(arguments) != len(value):
            raise _refusal(where, value, _expected(hint))
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(
            _convert(kind, item, f"{where}[{index}]")
            for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _refusal(where, value, _expected(hint))
        return {str(k): _convert(arguments[1], item, f"{where}.{k}") for k, item in value.items()}
    return _scalar(hint, value, where)


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        return value
    if hint in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise _refusal(where, value, "a finite number")
        if hint is float:
            return float(value)
        if value == int(value):
            return int(value)
        raise _refusal(where, value, "a whole number")
    raise _refusal(where, value, _expected(hint))


def _expected(hint: Any) -> str:
    """What a type accepts, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"{len(arguments)} values"
    names = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}
    return names.get(hint, "a group of fields" if is_dataclass(hint) else "a mapping")


def _refusal(where: str, value: Any, expected: str) -> BadInput:
    hint = ""
    if isinstance(value, str) and "number" in expected:
        hint = "; numbers stand without quotes, as 3e18 or 0.001"
    elif expected == "text" and value is not None:
        hint = "; quote it"
    return BadInput(f"{where}: found {value!r} ({type(value).__name__}), expected {expected}{hint}")


def _refuse_arguments(message: str) -> NoReturn:
    raise BadInput(f"command line: {message}; --help shows what there is")


def _choices() -> str:
    """What --help says of overrides: every group and its files."""
    lines = ["Every other argument is an override in Hydra's grammar; groups and their choices:"]
    for folder in sorted(path for path in CONFIG_DIR.iterdir() if path.is_dir()):
        if names := sorted(path.stem for path in folder.glob("*.yaml")):
            lines.append(f"  {folder.name}={'|'.join(names)}")
    return "\n".join([*lines, "and any field of their files, as optimizer.lr=1e-3"])


def _speaks() -> bool:
    """Whether this process tells the user of errors: of torchrun's ranks the first alone."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"
