"""How an error names what was found and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, if one does."""
    by_folded = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest name, else the list of what is known."""
    names = list(known)
    found = nearest(name, names)
    if found is not None:
        return f"did you mean `{found}`?"
    return f"known: {listed(names)}" if names else ""


def listed(names: Iterable[object], limit: int = 12) -> str:
    """`a`, `b` and so on, cut where a line would grow too long."""
    names = list(names)
    text = ", ".join(f"`{name}`" for name in names[:limit])
    return f"{text} and {len(names) - limit} more" if len(names) > limit else text


def found(value: Any) -> str:
    """What was found, in the words of a YAML file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return f"the text '{value}'"
    kinds = {dict: "mapping", list: "list", tuple: "list", set: "list"}
    return f"a {next((word for kind, word in kinds.items() if isinstance(value, kind)), type(value).__name__)}"
