"""The study file as plain data that remembers where everything stood.

Every way in which reading can fail ends as a `StudyFileError` in plain words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rltune.config.nodes import Mark, parse
from rltune.errors import InputError, Key, Problem, StudyFileError
from rltune.wording import found, nearest

ROOT = "hyperparameter_optimization"
"""The key under which the guide puts a study; it may be left out."""


@dataclass(frozen=True)
class Document:
    """What a study file says, and where it says it.

    Attributes:
        data: The study, without the root key.
        file: Where it was read from; None for a mapping given from Python.
        mark: The lines of `data`.
        overrides: The text of each `--set`, by the key that it replaced.
    """

    data: dict[str, Any]
    file: Path | None = None
    mark: Mark = field(default_factory=Mark)
    overrides: Mapping[Key, str] = field(default_factory=dict)

    def line(self, key: Key) -> int | None:
        """The line of a key, or of the nearest key above it; None for what was not read from a file."""
        if self.override(key) is not None:
            return None
        mark = self.mark
        for part in key:
            if part not in mark.children:
                break
            mark = mark.children[part]
        return mark.line

    def override(self, key: Key) -> str | None:
        """The `--set` that a key came from, or that made it for a key below."""
        for n in range(len(key), 0, -1):
            if key[:n] in self.overrides:
                return self.overrides[key[:n]]
        below = [text for other, text in self.overrides.items() if other[: len(key)] == key]
        return below[0] if below and not self._is_in_file(key) else None

    def _is_in_file(self, key: Key) -> bool:
        mark = self.mark
        for part in key:
            if part not in mark.children:
                return False
            mark = mark.children[part]
        return True

    def locate(self, problem: Problem) -> Problem:
        """The same problem with its line, or with the `--set` that it came from."""
        text = self.override(problem.key)
        if text is None:
            return problem.at(self.line(problem.key))
        stop = " " if problem.hint.endswith("?") else "; "
        return replace(problem, hint=f"{problem.hint}{stop if problem.hint else ''}given by --set {text}")


def read(path: str | Path, *, root: str | None = ROOT) -> Document:
    """The mapping in a file: a study, or with `root=None` any other, such as a trainer's own config.

    Args:
        path: The file.
        root: A key that may enclose the whole mapping, and then is left out of the result.

    Raises:
        StudyFileError: The file is missing, unreadable, empty or no YAML, repeats a key, or holds no mapping.
    """
    file = Path(path)
    try:
        data, mark = parse(_text(file))
        document = Document(_mapping(data, mark), file, mark)
        return document if root is None else _without_root(document, root)
    except InputError as error:
        raise StudyFileError(file, (_below(root, problem) for problem in error.problems)) from None


def _below(root: str | None, problem: Problem) -> Problem:
    inside = len(problem.key) > 1 and problem.key[0] == root
    return replace(problem, key=problem.key[1:]) if inside else problem


def _mapping(data: Any, mark: Mark) -> dict[str, Any]:
    if data is None:
        raise _stop("is empty", "`rltune init` writes a study file to begin with")
    if not isinstance(data, dict):
        raise _stop(f"holds {found(data)}, not keys with values", "write `key: value` lines", mark.line)
    return data


def _without_root(document: Document, root: str) -> Document:
    data = document.data
    if root not in data:
        only = next(iter(data)) if len(data) == 1 else None
        if isinstance(only, str) and nearest(only, [root]):
            raise InputError([document.locate(Problem((only,), "unknown key", f"did you mean `{root}`?"))])
        return document
    hint = f"indent it under `{root}`"
    strangers = [Problem((name,), f"stands beside `{root}`", hint) for name in data if name != root]
    if strangers:
        raise InputError(document.locate(problem) for problem in strangers)
    if not isinstance(data[root], dict):
        message = f"holds {found(data[root])}, not keys with values"
        raise InputError([document.locate(Problem((root,), message, "indent the study under it"))])
    return Document(data[root], document.file, document.mark.children[root])


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise _stop("does not exist", _neighbours(file)) from None
    except IsADirectoryError:
        raise _stop("is a folder", _inside(file) or "name the study file") from None
    except OSError as error:
        raise _stop(f"cannot be read: {error.strerror}") from None
    except ValueError:  # a null character in the path
        raise _stop("is no name of a file") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _stop(f"is not UTF-8 text: byte 0x{raw[error.start]:02x}", "save the file as UTF-8", line) from None


def _neighbours(file: Path) -> str:
    """What the user may have meant, when a file does not exist."""
    folder = file.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either"
    near = get_close_matches(file.name, [entry.name for entry in folder.iterdir() if entry.is_file()])
    if near:
        return f"did you mean {' or '.join(near)}?"
    return _inside(folder) or "its folder holds no YAML file; `rltune init` writes one"


def _inside(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix in (".yaml", ".yml"))
    return f"there is {', '.join(names[:5])}" if names else ""


def _stop(message: str, hint: str = "", line: int | None = None) -> InputError:
    return InputError([Problem((), message, hint, line)])
