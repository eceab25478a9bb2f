"""Settings as NeMo RL's command line takes them: one word each, in the grammar of Hydra's overrides.

Hydra: docs "Extended override syntax" (version 1.3). NeMo RL composes in struct mode: `key=value` needs a key that is
there, `++key=value` sets it either way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rltune.errors import TrainerError
from rltune.trainers.config_text import override_text, plain

_PART = r"(?:[A-Za-z_$][\w$-]*|0|[1-9]\d*)"
_KEY = re.compile(rf"[A-Za-z_$][\w$-]*|{_PART}(?:\.{_PART})+", re.ASCII)
_KEY_IN_BRACES = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_NOT_TEXT = {"true", "false", "null", "nan", "inf"}


def override(key: str, value: Any, *, new: bool = False) -> str:
    """One setting as a word of the command line, which Hydra reads back with the same value and type.

    A text with `${` in it stays what it is to OmegaConf: an interpolation.

    Args:
        key: Dotted; whole numbers step into lists.
        value: Scalars, and lists and mappings of them.
        new: The recipe has no such key.

    Raises:
        TrainerError: Hydra's grammar has no form for the key, for a key within the value, or for the value.
    """
    if not _KEY.fullmatch(key):
        raise TrainerError(
            f"`{key}` cannot be set on NeMo RL's command line: a part of a key holds letters, digits, `_`, `-` and "
            "`$`, and an index of a list is a part of its own, as in `policy.scheduler.0.kwargs.total_iters`; "
            "set it in a recipe of your own that names this one in `defaults`"
        )
    value = plain(value, (key,))
    _check_keys(key, value)
    return f"{'++' if new else ''}{key}={override_text(value)}"


def _check_keys(place: str, value: Any) -> None:
    """Hydra has no quotes for keys in braces, so a key that looks like something else than text would become that."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not _is_writable(key):
                raise TrainerError(
                    f"`{place}` cannot be set on NeMo RL's command line: the key {key!r} in it needs quotes, which "
                    "Hydra has none for; set it in a recipe of your own that names this one in `defaults`"
                )
            _check_keys(f"{place}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys(f"{place}.{index}", item)


def _is_writable(key: object) -> bool:
    if isinstance(key, str):
        return _KEY_IN_BRACES.fullmatch(key) is not None and key.lower() not in _NOT_TEXT
    return isinstance(key, int) and not isinstance(key, bool)
