"""What the configuration to ship changes against the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """One parameter, whether its value has changed or not.

    Attributes:
        default, shipped: Its values; None where it is not active, or is null.
        in_default, in_shipped: Whether it is active there.
    """

    parameter: str
    default: Any
    shipped: Any
    in_default: bool
    in_shipped: bool

    @property
    def changed(self) -> bool:
        return (self.in_default, self.default) != (self.in_shipped, self.shipped)


def changes(default: Mapping[str, Any], shipped: Mapping[str, Any]) -> tuple[Change, ...]:
    """Each parameter of either, the default's first."""
    names = dict.fromkeys([*default, *shipped])
    return tuple(Change(n, default.get(n), shipped.get(n), n in default, n in shipped) for n in names)
