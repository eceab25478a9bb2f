"""What is wrong with a text that is not YAML, said to someone who never read the YAML specification."""

from __future__ import annotations

import re

from ruamel.yaml.error import MarkedYAMLError

from rltune.errors import Problem

_ALIKE = "indent the keys of one mapping alike"

_UNCLOSED = {
    "while parsing a flow sequence": (
        "the list opened here with `[` is not closed",
        "add the `]`, and commas between the items",
    ),
    "while parsing a flow mapping": (
        "the mapping opened here with `{` is not closed",
        "add the `}`, and commas between the keys",
    ),
    "while scanning a quoted scalar": ("the quote opened here is not closed", "add the closing quote"),
}
"""What the parser was in the midst of: the place to mend is where it began."""

_COMPLAINTS = (
    (r"'\\t'", "a tab is used as indentation", "YAML takes spaces only: replace the tab"),
    (r"character '(.+)' that cannot start", "text cannot begin with {0}", "put it in quotes"),
    (r"undefined alias '(.+)'", "`*{0}` refers to an anchor that is not defined", "write `&{0}` before its value"),
    (r"another document", "a second document begins here", "keep one study in a file: remove the `---`"),
    (
        r"mapping values are not allowed",
        "the colon in `{words}` cannot stand there",
        _ALIKE + ", write a space after each colon, and quote text that holds a colon and a space",
    ),
    (r"expected <block end>", "`{words}` is indented differently from the keys before it", _ALIKE),
)
"""What the parser says, by a pattern, and what it means: message and hint."""


def in_plain_words(error: MarkedYAMLError, text: str) -> Problem:
    """The parser's complaint as a problem with a line, the words found there and what to do."""
    context, complaint = str(error.context or ""), str(error.problem or error.context)
    if context in _UNCLOSED:
        return Problem((), *_UNCLOSED[context], _line(error.context_mark))
    if "could not find expected ':'" in complaint:
        line = _line(error.context_mark or error.problem_mark)
        return Problem((), f"`{_words(text, line)}` has no colon", "write `key: value`", line)
    line = _line(error.problem_mark)
    words = _words(text, line)
    for pattern, message, hint in _COMPLAINTS:
        if match := re.search(pattern, complaint):
            groups = match.groups()
            return Problem((), message.format(*groups, words=words), hint.format(*groups), line)
    return Problem((), f"`{words}` is not valid YAML: {complaint}", "", line)


def _line(mark: object) -> int:
    return int(getattr(mark, "line", 0)) + 1


def _words(text: str, line: int) -> str:
    lines = text.splitlines()
    return lines[line - 1].strip()[:60] if 0 < line <= len(lines) else ""
