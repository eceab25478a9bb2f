"""From parameters with dotted names to what a trainer reads: a nested mapping, a YAML file, override texts.

A name follows the base config where it can: at every level the longest part of the name that is a key there is taken
as that key, and a whole number steps into a list. What the base config does not know becomes nested mappings.
"""

from __future__ import annotations

import copy
import difflib
import io
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import PurePath
from typing import Any

from rltune.errors import Key, Problem, TrainerError

_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf", "infinity"}
"""Other things than text, to one reader or another."""


def merged(base: Mapping[str, Any] | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of `base` with `params` set in it, their types untouched.

    Raises:
        TrainerError: A dotted name leads through a value that holds no keys, or past the end of a list.
    """
    config: dict[str, Any] = copy.deepcopy(dict(base or {}))
    for name, value in params.items():
        _set(config, name, copy.deepcopy(value))
    return config


def unknown_keys(base: Mapping[str, Any], names: Iterable[str]) -> list[Problem]:
    """A problem for each name that `base` has no place for; the place of the problem is the name itself."""
    known = list(flattened(base))
    return [
        Problem((name,), "the base config has no such key", did_you_mean(name, known))
        for name in names
        if not _has(base, name)
    ]


def flattened(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every value of a nested mapping by its dotted name: lists as they are, and what is in them by its index."""
    return dict(_values(config))


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The hint for a wrong name: those of `known` with the same last part, else those spelled like it."""
    tail = name.rpartition(".")[2]
    near = [k for k in known if k.rpartition(".")[2] == tail] or difflib.get_close_matches(name, known, 1)
    near = difflib.get_close_matches(name, near, 3, cutoff=0.0)
    return f"did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""


def yaml_text(config: Mapping[str, Any]) -> str:
    """`config` as a YAML file whose numbers and texts PyYAML, ruamel.yaml and OmegaConf read alike.

    Raises:
        TrainerError: A value that YAML has no form for; the message names its place.
    """
    out, content = io.StringIO(), plain(config)
    # Taken while it writes: a writer that another thread uses, or that a signal's exception has left, is spoilt.
    try:
        writer = _WRITERS.pop()
    except IndexError:
        writer = _writer()
    writer.dump(content, out)
    _WRITERS.append(writer)
    return out.getvalue()


_WRITERS: list[Any] = []
"""Idle ones: a trial's config is written in a tenth of the time that it takes to make one."""


def _writer() -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        def ignore_aliases(self, _data: Any) -> bool:
            return True

    def number(representer: Any, value: float) -> Any:
        return representer.represent_scalar("tag:yaml.org,2002:float", float_text(value, nan=".nan", inf=".inf"))

    def text(representer: Any, value: str) -> Any:
        style = None if _is_plain(value) else '"'
        return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Representer.add_representer(float, number)
    Representer.add_representer(str, text)
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 2**31
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # annotated as None by ruamel
    return yaml


def json_text(config: Mapping[str, Any]) -> str:
    """`config` as JSON.

    Raises:
        TrainerError: A value that JSON has no form for; the message names its place.
    """
    return json.dumps(plain(config), indent=2, ensure_ascii=False, default=str) + "\n"


def overrides(params: Mapping[str, Any]) -> tuple[str, ...]:
    """`params` as ``key=value`` texts, typed so that Hydra and OmegaConf read each value back as it was."""
    return tuple(f"{name}={override_text(value)}" for name, value in params.items())


def override_text(value: object) -> str:
    """One value in the notation of Hydra's overrides, which is also YAML's in one line."""
    value = plain(value)
    if isinstance(value, str):
        return value if _is_plain(value) else _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(override_text(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {override_text(v)}' for k, v in value.items())}}}"
    return value_text(value)


def value_text(value: object) -> str:
    """One value as bare text, for an argument of its own: text is not quoted."""
    value = plain(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    return override_text(value) if isinstance(value, (list, dict)) else str(value)


def float_text(value: float, *, nan: str = "nan", inf: str = "inf") -> str:
    """The shortest text that reads back as the same float, always with a dot: ``1.0e-05``.

    PyYAML takes ``1e-05`` for a text; with a dot, all readers see a float.
    """
    if math.isnan(value):
        return nan
    if math.isinf(value):
        return inf if value > 0 else f"-{inf}"
    digits, e, exponent = repr(float(value)).partition("e")
    if "." not in digits:
        digits += ".0"
    return f"{digits}e{exponent if exponent[0] in '+-' else f'+{exponent}'}" if e else digits


def plain(value: Any, place: Key = ()) -> Any:  # noqa: PLR0911  # one return per kind of value
    """`value` made of dicts, lists and Python's own scalars and dates: what YAML and JSON can hold.

    Raises:
        TrainerError: Anything else, or a structure that contains itself.
    """
    if len(place) > 100:
        raise TrainerError(f"config value `{'.'.join(map(str, place[:5]))}...` contains itself")
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):  # subclasses too: enums, NumPy's floats, ruamel's numbers
        if isinstance(value, kind):
            return kind(value.value if hasattr(value, "value") and isinstance(value.value, kind) else value)
    if isinstance(value, Mapping):
        return {_key(k): plain(v, (*place, str(k))) for k, v in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [plain(v, (*place, i)) for i, v in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    if callable(getattr(value, "tolist", None)):  # NumPy's and PyTorch's scalars and arrays
        return plain(value.tolist(), place)
    if hasattr(value, "isoformat"):
        return value
    where = ".".join(map(str, place)) or "config"
    raise TrainerError(f"config value `{where}` is a {type(value).__name__}, which a config file cannot hold")


def _key(key: object) -> object:
    return str(key) if isinstance(key, str) else key


def _set(config: MutableMapping[str, Any], name: str, value: Any) -> None:
    at: Any = config
    parts = name.split(".")
    while True:
        key, rest = _step(at, parts)
        if not rest:
            at[key] = value
            return
        child = at[key] if isinstance(at, list) else at.get(key)
        if child is None:
            child = at[key] = {}
        if not isinstance(child, (MutableMapping, list)):
            whole = name.removesuffix("." + ".".join(rest))
            raise TrainerError(f"parameter `{name}` cannot be set: `{whole}` in the base config is {child!r:.60}")
        _check_index(child, rest[0], name)
        at, parts = child, rest


def _check_index(child: object, part: str, name: str) -> None:
    if isinstance(child, list) and not (part.isdecimal() and int(part) < len(child)):
        raise TrainerError(f"parameter `{name}` cannot be set: {part!r} is no index of a list of {len(child)} items")


def _has(config: object, name: str) -> bool:
    at, parts = config, name.split(".")
    while parts:
        if isinstance(at, Mapping):
            key, rest = _step(at, parts)
            if key not in at:
                return False
            at = at[key]
        elif isinstance(at, list) and parts[0].isdecimal() and int(parts[0]) < len(at):
            at, rest = at[int(parts[0])], parts[1:]
        else:
            return False
        parts = rest
    return True


def _step(at: Mapping[str, Any] | list[Any], parts: list[str]) -> tuple[Any, list[str]]:
    """The key to follow from `at`, and the parts of the name behind it."""
    if isinstance(at, list):
        return int(parts[0]), parts[1:]
    for n in range(len(parts), 0, -1):
        if (key := ".".join(parts[:n])) in at:
            return key, parts[n:]
    return parts[0], parts[1:]


def _values(config: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(config, Mapping):
        items = config.items()
    elif isinstance(config, list):
        items = enumerate(config)
    for key, value in items:
        if not isinstance(value, Mapping):
            yield f"{prefix}{key}", value
        yield from _values(value, f"{prefix}{key}.")


def _is_plain(text: str) -> bool:
    """Whether every reader takes the bare `text` for text."""
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS


def _quoted(text: str) -> str:
    """In quotes that Hydra and YAML agree on, where there are any; else in Hydra's.

    To Hydra, backslashes count only where they stand before a quote.
    """
    if "'" in text and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), text) + "'"
