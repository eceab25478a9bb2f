"""A study as plain data, and plain data as YAML that every reader understands."""

from __future__ import annotations

import io
import numbers
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter


def plain(value: Any) -> Any:
    """Dicts, lists and Python's own scalars instead of tuples, paths and NumPy's numbers; the rest as it is."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return str(value) if isinstance(value, PurePath) else value


def to_yaml(data: Mapping[str, Any]) -> str:
    """Plain data as YAML text."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = None  # lists of scalars on one line, the rest in blocks
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # wrongly inferred as None
    yaml.width = 120
    stream = io.StringIO()
    yaml.dump(dict(data), stream)
    return stream.getvalue()


_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off)$)[a-z][\w./-]*", re.IGNORECASE)
"""Text that needs no quotes, in whatever place and for whatever reader."""


class _Representer(SafeRepresenter):
    """Writes what readers of YAML 1.1, such as PyYAML, take for the same: 1.0e-05 for 1e-05, "on" for on."""

    def represent_str(self, data: str) -> ScalarNode:
        node: ScalarNode = super().represent_str(data)
        if not _PLAIN.fullmatch(data) and "\n" not in data:
            node.style = '"'
        return node

    def represent_float(self, data: float) -> ScalarNode:
        node: ScalarNode = super().represent_float(data)
        mantissa, e, exponent = str(node.value).partition("e")
        if e and "." not in mantissa:
            node.value = f"{mantissa}.0e{exponent}"
        return node

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


_Representer.add_representer(float, _Representer.represent_float)
_Representer.add_representer(str, _Representer.represent_str)
