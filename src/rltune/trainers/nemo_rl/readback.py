"""Whether NeMo RL took what it was asked to: its own account of its configuration, compared key by key.

NeMo RL says what it runs with twice: it prints one line `MasterConfig(...)` before anything starts, and saves
`config.yaml` in every checkpoint. A key that reached neither with its value was tuned for nothing, so the trial ends as
soon as that is seen. Reading the account, not the command line, also finds keys that a script of the user's ignores.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rltune.folder import TrialDir
from rltune.trainers.nemo_rl.isolation import steps_in
from rltune.trainers.readers import Skipped
from rltune.trainers.readers.lines import GrowingFile
from rltune.types import Cause, Measurement
from rltune.worker import TrialFailed

_PRINTED = b"MasterConfig("
_OBJECT = re.compile(r"<[\w.]+: ([^<>]*)>")  # an enum's member, <Kind.A: 'a'>, which is no literal of Python
_RELATIVE = 1e-6
"""A float that has passed through 32 bits is off by up to 6e-8 of itself."""

_ABSENT = object()
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Mismatch(NamedTuple):
    """A key whose value is not the one that was asked for; `found` is None where the key is not there at all."""

    key: str
    asked: Any
    found: str | None

    def __str__(self) -> str:
        found = "is not in it" if self.found is None else f"is {self.found} there"
        return f"`{self.key}` was set to {self.asked!r} and {found}"


@dataclass
class ReadBack:
    """Compares while the trial runs; as a source of metrics it measures nothing.

    Attributes:
        asked: What must hold, by dotted key, resolved.
        saved: Those of the keys that a checkpoint's `config.yaml` must hold too; NeMo RL itself changes others on its
            way, such as the log folder.
        seen: Which accounts have been read, for the trial's log.
        unread: Why an account could not be read.
    """

    asked: Mapping[str, Any]
    saved: Collection[str] = ()
    poll_seconds: float = 0.5
    seen: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def open(self, directory: Path, log: Path, /) -> ReadBackReader:
        return ReadBackReader(self, TrialDir(directory).checkpoints, log)

    def note(self) -> str:
        """One line on what was compared."""
        if self.seen:
            return f"every key that was set is in {' and '.join(self.seen)}"
        why = "; ".join(self.unread) or "it printed no `MasterConfig(...)` and saved no checkpoint"
        return f"whether the keys that were set reached the trainer is not known: {why}"


class ReadBackReader:
    """Follows the log up to the printed config, and the checkpoints up to the first saved one."""

    def __init__(self, gate: ReadBack, checkpoints: Path, log: Path) -> None:
        self.name = "what the trainer says about its configuration"
        self.skipped = Skipped()
        self._gate = gate
        self._checkpoints = checkpoints
        self._before = set(steps_in(checkpoints))  # those that the trial starts from say what an earlier one ran with
        self._log: GrowingFile | None = GrowingFile(log)
        self._saved = False

    def read(self, *, last: bool = False) -> list[Measurement]:
        """Nothing.

        Raises:
            TrialFailed: A key did not reach the trainer.
        """
        if self._log is not None:
            self._read_log(self._log, last=last)
        if not self._saved:
            self._read_checkpoints()
        return []

    def _read_log(self, log: GrowingFile, *, last: bool) -> None:
        for line in log.lines(last=last):
            if _PRINTED not in line:
                continue
            self._log = None
            try:
                config = parse_printed(line[line.index(_PRINTED) :].decode(errors="replace"))
            except ValueError as error:
                self._gate.unread.append(f"the line `MasterConfig(...)` cannot be read ({error})")
            else:
                self._judge(config, self._gate.asked, "the printed `MasterConfig(...)`")
            return

    def _read_checkpoints(self) -> None:
        for step, folder in steps_in(self._checkpoints).items():
            file = folder / "config.yaml"
            if step in self._before or not file.is_file():
                continue
            self._saved = True
            try:
                config = read_saved(file)
            except ValueError as error:
                self._gate.unread.append(f"{file} cannot be read ({error})")
            else:
                asked = {key: value for key, value in self._gate.asked.items() if key in self._gate.saved}
                self._judge(config, asked, f"{folder.name}/config.yaml")
            return

    def _judge(self, config: Mapping[str, Any], asked: Mapping[str, Any], where: str) -> None:
        wrong = mismatches(asked, config)
        if wrong:
            lines = [f"a key did not reach the trainer, by {where}:", *map(str, wrong)]
            advice = "look for the live key with `rltune check`, or for a script that sets it by itself"
            raise TrialFailed(Cause.IGNORED_KEY, "\n".join([*lines, advice]))
        self._gate.seen.append(where)


def parse_printed(text: str) -> dict[str, Any]:
    """The configuration in a line `MasterConfig(policy={...}, ...)`, as nested plain values.

    Raises:
        ValueError: It is not such a line, or not whole.
    """
    try:
        value = _value(ast.parse(_OBJECT.sub(r"\1", text.strip()), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("it holds no keys")  # noqa: TRY004  # one error for all that is no account
    return value


def read_saved(file: Path) -> dict[str, Any]:
    """A checkpoint's `config.yaml`, with YAML 1.2's numbers: `1e-8` is one.

    Raises:
        ValueError: It is no YAML, or no mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        config = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if not isinstance(config, dict):
        raise ValueError("it is no mapping")  # noqa: TRY004  # as above
    return config


def mismatches(asked: Mapping[str, Any], config: Mapping[str, Any]) -> list[Mismatch]:
    """Every key of `asked` that `config` holds otherwise; a mapping must be there with what was asked of it.

    Values count as the same where the trainer's own reading makes them so: 8 and 8.0, 16 and '16', a float and the
    nearest one of 32 bits, `yes` and true. Text that still holds an interpolation is not compared.
    """
    return [mismatch for key, value in asked.items() for mismatch in _compared(key, value, _at(config, key))]


def _compared(key: str, asked: Any, found: Any) -> Iterator[Mismatch]:
    if isinstance(asked, Mapping) and isinstance(found, Mapping):
        for name, value in asked.items():
            yield from _compared(f"{key}.{name}", value, found.get(name, _ABSENT))
    elif isinstance(asked, list) and isinstance(found, list) and len(asked) == len(found):
        for index, (a, b) in enumerate(zip(asked, found, strict=True)):
            yield from _compared(f"{key}.{index}", a, b)
    elif found is _ABSENT:
        if asked is not None:
            yield Mismatch(key, asked, None)
    elif not _is_same(asked, found):
        yield Mismatch(key, asked, repr(found))


def _is_same(asked: Any, found: Any) -> bool:
    if isinstance(asked, str) and "${" in asked:
        return True
    if isinstance(asked, bool) or isinstance(found, bool):
        return _truth(asked) is _truth(found) is not None
    a, b = _number(asked), _number(found)
    if a is not None and b is not None:
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=_RELATIVE)
    return bool(asked == found)


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return _TRUTH.get(str(value).lower())


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(config, Mapping):
            config = config.get(part, _ABSENT)
        elif isinstance(config, list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
        else:
            return _ABSENT
    return config


def _value(node: ast.expr) -> Any:  # noqa: PLR0911  # one return per kind of node
    """A literal, where calls such as `GRPOConfig(a=1)` are mappings of their keywords."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Dict():
            return {_value(k): _value(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
        case ast.List() | ast.Tuple() | ast.Set():
            return [_value(item) for item in node.elts]
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand)
        case ast.Name() if node.id in ("nan", "inf"):
            return float(node.id)
        case ast.Call(args=[only], keywords=[]):  # PosixPath('/a')
            return _value(only)
        case ast.Call():
            return {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
    return ast.unparse(node)
