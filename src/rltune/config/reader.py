"""The study file as plain Python data that remembers where everything stood.

The file is composed by ruamel.yaml (YAML 1.2, so `1e-5` is a number and `on` is text) and turned into dicts, lists
and scalars here, because only the composed nodes still know their lines. Every way in which reading can fail ends as
a `StudyFileError` in plain words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from rltune.config.syntax import in_plain_words
from rltune.errors import Key, Problem, StudyFileError
from rltune.space.wording import found, nearest
from rltune.types import Scalar

ROOT = "hyperparameter_optimization"
"""The key under which the guide puts a study; it may be left out."""

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Mark:
    """Where a value began: its line, and the marks of what it holds."""

    line: int | None = None
    children: Mapping[str | int, Mark] = field(default_factory=dict)


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
    mark: Mark = Mark()
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
        """The `--set` that a key came from."""
        return next((self.overrides[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.overrides), None)

    def locate(self, problem: Problem) -> Problem:
        """The same problem with its line, or with the `--set` that it came from."""
        text = self.override(problem.key)
        if text is None:
            return problem.at(self.line(problem.key))
        hint = f"{problem.hint}; " if problem.hint else ""
        return Problem(problem.key, problem.message, f"{hint}given by --set {text}")


def read(path: str | Path) -> Document:
    """The study in a file.

    Raises:
        StudyFileError: The file is missing, unreadable, empty or no YAML, repeats a key, or holds no mapping.
    """
    file = Path(path)
    text = _text(file)
    try:
        data, mark = parse(text)
    except StudyFileError as error:
        raise StudyFileError(file, error.problems) from None
    if data is None:
        raise _error(file, Problem((), "is empty", "`rltune init` writes a study file to begin with"))
    if not isinstance(data, dict):
        raise _error(
            file, Problem((), f"holds {found(data)}, not keys with values", "write `key: value` lines", mark.line)
        )
    return _without_root(Document(data, file, mark))


def parse(text: str) -> tuple[Any, Mark]:
    """Any YAML text as plain data and its marks.

    Raises:
        StudyFileError: Without a file name; the text is not YAML, repeats a key, or holds what has no plain form.
    """
    if re.search(r"^%YAML +1\.[01]\b", text, re.MULTILINE):
        raise _error(
            None, Problem((), "asks for YAML 1.1, where `1e-5` and `on` mean something else", "remove `%YAML`", 1)
        )
    try:
        node = YAML(typ="rt").compose(text)
    except MarkedYAMLError as error:
        raise _error(None, in_plain_words(error, text)) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _error(None, Problem((), f"holds the control character {error.character!r}", "remove it", line)) from None
    except (YAMLError, RecursionError) as error:
        message = "is nested too deeply" if isinstance(error, RecursionError) else f"is not YAML: {error}"
        raise _error(None, Problem((), message)) from None
    if node is None:
        return None, Mark(1)
    builder = _Builder()
    data, mark = builder.build(node, ())
    if builder.problems:
        raise StudyFileError(None, builder.problems)
    return data, mark


class _Builder:
    """Nodes become data. Each node is built once, so that an alias costs nothing, however often it is used."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._built: dict[int, tuple[Any, Mark]] = {}
        self._open: set[int] = set()

    def build(self, node: Node, key: Key) -> tuple[Any, Mark]:
        if id(node) in self._open:
            self._report(node, key, "refers to itself", "an anchor cannot be used inside its own value")
            return None, Mark(_line(node))
        if id(node) not in self._built:
            self._open.add(id(node))
            self._built[id(node)] = self._new(node, key)
            self._open.discard(id(node))
        return self._built[id(node)]

    def _new(self, node: Node, key: Key) -> tuple[Any, Mark]:
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, key)
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return self._list(node, key)
        if isinstance(node, ScalarNode):
            return self._scalar(node, key), Mark(_line(node))
        self._report(node, key, f"carries the tag {node.tag}", "tags are not used here: remove it")
        return None, Mark(_line(node))

    def _list(self, node: SequenceNode, key: Key) -> tuple[list[Any], Mark]:
        data: list[Any] = []
        marks: dict[str | int, Mark] = {}
        for n, item in enumerate(node.value):
            value, mark = self.build(item, (*key, n))
            data.append(value)
            marks[n] = Mark(_line(item), mark.children)
        return data, Mark(_line(node), marks)

    def _mapping(self, node: MappingNode, key: Key) -> tuple[dict[str | int, Any], Mark]:
        data: dict[str | int, Any] = {}
        marks: dict[str | int, Mark] = {}
        merged: dict[str | int, Any] = {}
        merged_marks: dict[str | int, Mark] = {}
        for name_node, value_node in node.value:
            if name_node.tag == _TAG + "merge":
                for value, mark in self._merges(value_node, key):
                    merged = value | merged
                    merged_marks = {**mark.children, **merged_marks}
                continue
            name = self._name(name_node, key)
            if name is None:
                continue
            if name in data:
                first = marks[name].line
                message = f"stands twice in one mapping: on line {first} and on line {_line(name_node)}"
                self._report(name_node, (*key, name), message, "keep one of them")
                continue
            data[name], mark = self.build(value_node, (*key, name))
            marks[name] = Mark(_line(name_node), mark.children)
        return {**merged, **data}, Mark(_line(node), {**merged_marks, **marks})

    def _merges(self, node: Node, key: Key) -> Iterator[tuple[dict[str | int, Any], Mark]]:
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            value, mark = self.build(source, (*key, "<<"))
            if isinstance(value, dict):
                yield value, mark
            else:
                self._report(source, (*key, "<<"), f"merges {found(value)}", "`<<` takes a mapping or a list of them")

    def _name(self, node: Node, key: Key) -> str | int | None:
        name, _ = self.build(node, key)
        if isinstance(name, str | int) and not isinstance(name, bool):
            return name
        self._report(node, key, f"{found(name)} stands where a key must", "a key is text: put it in quotes")
        return None

    def _scalar(self, node: ScalarNode, key: Key) -> Scalar:
        tag = str(node.tag).removeprefix(_TAG)
        if tag not in _SCALARS:
            self._report(node, key, f"carries the tag {node.tag}", "tags are not used here: remove it")
            return None
        try:
            return _SCALARS[tag](node.value)
        except ValueError:
            self._report(node, key, f"`{node.value}` is no {tag}, as its tag says", "remove the tag")
            return None

    def _report(self, node: Node, key: Key, message: str, hint: str) -> None:
        self.problems.append(Problem(key, message, hint, _line(node)))


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    based = digits.lstrip("+-").lower().startswith(("0x", "0o", "0b"))
    return int(digits, 0) if based else int(digits)


def _float(text: str) -> float:
    return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_SCALARS: dict[str, Callable[[str], Scalar]] = {
    "str": str,
    "int": _integer,
    "float": _float,
    "bool": _boolean,
    "null": lambda _: None,
    "timestamp": str,  # YAML 1.2 has no dates: `2026-01-01` is text
}


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise _error(file, Problem((), "does not exist", _neighbours(file))) from None
    except IsADirectoryError:
        raise _error(file, Problem((), "is a folder", _inside(file) or "name the study file")) from None
    except OSError as error:
        raise _error(file, Problem((), f"cannot be read: {error.strerror}")) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text: byte 0x{raw[error.start]:02x}"
        raise _error(file, Problem((), message, "save the file as UTF-8", line)) from None


def _neighbours(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either"
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    near = difflib.get_close_matches(file.name, names, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return _inside(folder) or f"there is no YAML file in {folder.resolve()}; `rltune init` writes one"


def _inside(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix in (".yaml", ".yml"))
    return f"there is {', '.join(names[:5])}" if names else ""


def _without_root(document: Document) -> Document:
    data, mark = document.data, document.mark
    if ROOT not in data:
        if len(data) == 1 and difflib.get_close_matches(str(next(iter(data))), [ROOT], cutoff=0.8):
            name = next(iter(data))
            raise _error(
                document.file, Problem((name,), "unknown key", f"did you mean `{ROOT}`?", document.line((name,)))
            )
        return document
    strangers = [name for name in data if name != ROOT]
    if strangers:
        hint = f"indent it under `{ROOT}`, or remove that key and its indentation"
        raise StudyFileError(
            document.file,
            [Problem((name,), f"stands beside `{ROOT}`", hint, document.line((name,))) for name in strangers],
        )
    inner = data[ROOT]
    if not isinstance(inner, dict):
        problem = Problem((ROOT,), f"holds {found(inner)}, not keys with values", "indent the study under it")
        raise _error(document.file, document.locate(problem))
    return Document(inner, document.file, mark.children[ROOT])


def _error(file: Path | None, problem: Problem) -> StudyFileError:
    return StudyFileError(file, [problem])
