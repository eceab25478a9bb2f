"""Changes to a YAML file as text: whatever is not changed stays as it is, to the last blank.

ruamel.yaml composes the text, and its nodes say where each value begins and ends. Positions are indices of characters.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from rltune.trainers.config_text import float_text


class _Span(NamedTuple):
    """Part of the text, without the comment behind it."""

    begin: int
    end: int


class _Edit(NamedTuple):
    span: _Span
    new: str


@dataclass
class YamlText:
    """A file's text, in which values are put. All places are those of `text`: no change sees another one.

    An anchor whose own value is changed moves to the first alias that stays.
    """

    text: str
    _edits: list[_Edit] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._root: Node = YAML(typ="rt").compose(self.text)
        events = [event for event in YAML(typ="rt").parse(self.text) if isinstance(event, AliasEvent)]
        self._aliases = {_Span(e.start_mark.index, e.end_mark.index): str(e.anchor) for e in events}

    def has(self, *path: str) -> bool:
        """Whether there is a key there; one that a mapping only takes over by `<<` is not."""
        mapping = self._mapping(path[:-1])
        return mapping is not None and _item(mapping, path[-1]) is not None

    def is_shared(self, *path: str) -> bool:
        """Whether the value there also stands elsewhere, by an alias."""
        key, value = self._found(path)
        return self._is_alias(key, value) or value.anchor in self._aliases.values()

    def put(self, path: Sequence[str], value: Any, after: str | None = None) -> None:
        """Puts a value there.

        Args:
            path: Its keys from the root on; all but the last are there.
            value: Plain data. What was there gives way to it as a whole.
            after: The key that a new one follows, at the front where there is none of that name; None: the last one.
        """
        if self.has(*path):
            self._replace(*self._found(path), value)
            return
        mapping = self._mapping(path[:-1])
        assert mapping is not None
        self._insert(mapping, path[-1], value, after)

    def changed(self) -> str:
        """The text with all changes."""
        taken = {edit.span for edit in self._edits}
        edits = [*self._edits, *self._moved_anchors(taken)]
        text = self.text
        for _, edit in sorted(enumerate(edits), key=lambda each: (each[1].span.begin, each[0]), reverse=True):
            text = text[: edit.span.begin] + edit.new + text[edit.span.end :]
        return text

    # --- where things are --------------------------------------------------------------------------------------------

    def _mapping(self, path: Sequence[str]) -> MappingNode | None:
        node = self._root
        for name in path:
            item = _item(node, name) if isinstance(node, MappingNode) else None
            if item is None:
                return None
            node = item[1]
        return node if isinstance(node, MappingNode) else None

    def _found(self, path: Sequence[str]) -> tuple[Node, Node]:
        mapping = self._mapping(path[:-1])
        item = None if mapping is None else _item(mapping, path[-1])
        assert item is not None
        return item

    def _is_alias(self, key: Node, value: Node) -> bool:
        return bool(value.start_mark.index < key.start_mark.index)  # the node is the one that the anchor is at

    def _span(self, key: Node, value: Node) -> _Span:
        """Of a value: of its alias where it is one."""
        if self._is_alias(key, value):
            return min(span for span in self._aliases if span.begin >= key.end_mark.index)
        colon = self.text.index(":", key.end_mark.index) + 1
        if value.start_mark.index == value.end_mark.index:  # nothing is there, up to the next thing
            return _Span(colon, colon)
        if isinstance(value, CollectionNode) and not value.flow_style:  # its own end is where the next thing begins
            return _Span(colon, self._end(value))
        return _Span(value.start_mark.index, value.end_mark.index)

    def _end(self, node: Node) -> int:
        if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
            return int(node.end_mark.index)
        last = node.value[-1]
        return self._span(*last).end if isinstance(node, MappingNode) else self._end(last)

    # --- what is changed ---------------------------------------------------------------------------------------------

    def _replace(self, key: Node, value: Node, new: Any) -> None:
        span = self._span(key, value)
        old = self.text[span.begin : span.end]
        text = _flow(new, quoted=isinstance(value, ScalarNode) and value.style == '"')
        at_once = not old or old.startswith("\n") or self.text[span.begin - 1] == ":"
        self._edits.append(_Edit(span, f" {text}" if at_once else text))

    def _insert(self, mapping: MappingNode, name: str, value: Any, after: str | None) -> None:
        items = mapping.value
        before = items[-1] if after is None and items else _item(mapping, after) if after else None
        quoted = bool(items) and self.text[items[0][0].start_mark.index] == '"'
        item = f"{_flow(name, quoted=quoted)}: {_flow(value, quoted=quoted)}"
        if mapping.flow_style:
            at = self.text.index("{", mapping.start_mark.index) + 1 if before is None else self._span(*before).end
            new = f", {item}" if before is not None else f"{item}, " if items else item
        else:
            first = items[0][0].start_mark
            at = first.index - first.column if before is None else self._line_end(self._span(*before).end)
            new = f"{' ' * first.column}{item}\n"
            if at and self.text[at - 1] != "\n":  # the last line has no end
                new = f"\n{new.rstrip()}"
        self._edits.append(_Edit(_Span(at, at), new))

    def _line_end(self, index: int) -> int:
        """Behind the line's end; a block of text ends there already."""
        if self.text[index - 1] == "\n":
            return index
        end = self.text.find("\n", index)
        return len(self.text) if end < 0 else end + 1

    def _moved_anchors(self, taken: set[_Span]) -> Iterator[_Edit]:
        """The definitions of replaced anchors, each in place of the first alias that stays."""
        for span in taken:
            old = self.text[span.begin : span.end].strip()
            anchor = re.match(r"&(\S+)\s", old)
            staying = [s for s, name in self._aliases.items() if anchor and name == anchor[1] and s not in taken]
            if anchor and staying:
                plain = YAML(typ="safe", pure=True).load(old)
                yield _Edit(min(staying), f"&{anchor[1]} {_flow(plain)}")


def _item(mapping: MappingNode, name: str) -> tuple[Node, Node] | None:
    return next((item for item in mapping.value if item[0].value == name), None)


def _flow(value: Any, *, quoted: bool = False) -> str:
    """A value on one line; text in double quotes where that is the custom of the place."""
    if quoted and isinstance(value, str):
        return json.dumps(value)
    yaml = YAML()
    yaml.width = 2**31

    def number(representer: Any, value: float) -> Any:
        return representer.represent_scalar("tag:yaml.org,2002:float", float_text(value, nan=".nan", inf=".inf"))

    yaml.representer.add_representer(float, number)
    items = CommentedSeq([value])
    items.fa.set_flow_style()
    out = io.StringIO()
    yaml.dump(items, out)
    return out.getvalue().strip().removeprefix("[").removesuffix("]")
