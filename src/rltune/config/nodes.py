"""YAML text as plain Python data, and beside it the line of every value.

ruamel.yaml composes the text (YAML 1.2, so `1e-5` is a number and `on` is text). Its nodes become dicts, lists and
scalars here, because only the nodes still know their lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from rltune.config.syntax import in_plain_words
from rltune.errors import InputError, Key, Problem
from rltune.types import Scalar
from rltune.wording import found

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Mark:
    """Where a value began: its line, and the marks of what it holds."""

    line: int | None = None
    children: Mapping[str | int, Mark] = field(default_factory=dict)


def parse(text: str) -> tuple[Any, Mark]:
    """Any YAML text as plain data and its marks.

    Raises:
        InputError: The text is not YAML, repeats a key, or holds what has no plain form.
    """
    node = _compose(text)
    if node is None:
        return None, Mark(1)
    builder = _Builder()
    data, mark = builder.build(node, ())
    if builder.problems:
        raise InputError(builder.problems)
    return data, mark


def _compose(text: str) -> Node | None:
    if re.search(r"^%YAML +1\.[01]\b", text, re.MULTILINE):
        message = "asks for YAML 1.1, where `1e-5` and `on` mean something else"
        raise InputError([Problem((), message, "remove the line that begins with `%YAML`", 1)])
    try:
        node: Node | None = YAML(typ="rt").compose(text)
        return node
    except MarkedYAMLError as error:
        problem = in_plain_words(error, text)
    except ReaderError as error:
        character = f"holds the control character 0x{error.character:02x}"
        problem = Problem((), character, "remove it", text.count("\n", 0, error.position) + 1)
    except YAMLError as error:
        problem = Problem((), f"is not YAML: {error}")
    except RecursionError:
        problem = Problem((), "is nested too deeply")
    raise InputError([problem])


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
