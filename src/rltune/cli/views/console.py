"""Where words go: stdout for results, stderr for what is said about them."""

from __future__ import annotations

import io
import json
import os
from typing import IO, Any, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.text import Text


def out() -> Console:
    """For people who read stdout. Long lines are left to the terminal: what is piped is never cut."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def err() -> Console:
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def json_text(value: Any) -> str:
    """Strict JSON: a number that is not finite is a bug of ours."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def print_json(value: Any) -> None:
    print(json_text(value), end="")


def verbatim(text: str, style: str = "") -> Text:
    """What may be copied from the screen, such as a command: broken into lines by nobody but the terminal."""
    return Text(text, style, no_wrap=True, overflow="ignore")


def print_all(console: Console, renderable: RenderableType) -> None:
    """A terminal gets lines that fit it; elsewhere sentences and paths stay in one piece, and nothing is cut."""
    if isinstance(renderable, Group):
        for part in renderable.renderables:
            print_all(console, part)
    elif isinstance(renderable, Text) and (not console.is_terminal or renderable.overflow == "ignore"):
        text = renderable.copy()
        text.no_wrap = text.overflow = None
        console.print(text, soft_wrap=True)
    elif console.is_terminal:
        console.print(renderable, soft_wrap=False)
    else:
        with console.capture() as laid_out:
            console.print(renderable, soft_wrap=False)
        lines = laid_out.get().splitlines()
        console.print("\n".join(line.rstrip() for line in lines), soft_wrap=True)


def lasting(stream: TextIO) -> Console:
    """A console for what must go on when its reader leaves or its terminal closes: a study is worth more than words."""
    return Console(file=cast("IO[str]", _Lasting(stream)), highlight=False, markup=False, emoji=False)


class _Lasting(io.TextIOBase):
    """A stream that falls silent instead of failing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._silence()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def _silence(self) -> None:
        """Everything written from now on, by Python at its exit too, goes nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
