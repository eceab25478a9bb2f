"""What our docstrings do that Markdown and Google's style do not know, put into their words for the site."""

from __future__ import annotations

import re
from typing import Any

import griffe


class OurDocstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_given: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _one_name_each(_without_colons(obj.docstring.value))

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_given: Any) -> None:
        """The members of an enumeration are told what they are by the comments behind them."""
        of_class = attr.parent is not None and attr.parent.is_class
        if of_class and attr.docstring is None and (comment := re.search(r"  # (.+)$", attr.source)):
            attr.docstring = griffe.Docstring(comment[1], parent=attr)


def _without_colons(text: str) -> str:
    """`::` marks an example; an indented block is one without it."""
    return re.sub(r"::\n(?=\n)", ":\n", re.sub(r"^ *::\n", "", text, flags=re.MULTILINE))


def _one_name_each(text: str) -> str:
    """`fold, n_folds: Which part.` is said of both."""
    return re.sub(r"^( +)(\w+), (\w+): (.*\n?(?:\1 +.*\n?)*)", _both, text, flags=re.MULTILINE)


def _both(found: re.Match[str]) -> str:
    indent, first, second, said = found.groups()
    return f"{indent}{first}: {said.rstrip()}\n{indent}{second}: {said}"
