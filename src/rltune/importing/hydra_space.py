"""What varies in a sweeper of Hydra.

Overrides are parsed by Hydra itself, and mean what the sweeper makes of them: hydra-optuna-sweeper includes the end of
a `range`, the basic sweeper does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from rltune.errors import Key, RltuneError
from rltune.importing.draft import Ranged, read_as
from rltune.importing.notes import Notes
from rltune.space import Parameter
from rltune.trainers.config_text import flattened, override_text
from rltune.wording import found


@dataclass
class Space:
    """What the overrides have become so far.

    Attributes:
        notes: What is wrong, and what has no counterpart.
        by_optuna: Whether Optuna searches; else the basic sweeper tries every value.
        ranged: Parameters.
        read: The same as parameters.
        fixed: Words of the command that are the same in every trial.
    """

    notes: Notes
    by_optuna: bool
    ranged: dict[str, Ranged] = field(default_factory=dict)
    read: dict[str, Parameter] = field(default_factory=dict)
    fixed: list[str] = field(default_factory=list)


class _Named(NamedTuple):
    """A parameter, and where it stands."""

    name: str
    place: Key


def read_space(sweeper: Mapping[str, Any], key: Key, space: Space) -> None:
    """Puts what varies into the space.

    Args:
        sweeper: The block.
        key: Where it stands.
        space: Grows.
    """
    notes = space.notes
    params, old = sweeper.get("params"), sweeper.get("search_space")
    if sweeper.get("custom_search_space") is not None:
        hint = "write what it adds as parameters with `when`, and take it out there"
        notes.refuse((*key, "custom_search_space"), "is a function that changes the search space while it runs", hint)
    if isinstance(params, Mapping):
        if old is not None:
            notes.remark((*key, "search_space"), "not taken over: the sweeper goes by `params` where both are given")
        for name, value in params.items():
            _read_override(_Named(str(name), (*key, "params", str(name))), value, space)
    elif isinstance(old, Mapping):
        for name, spec in old.items():
            _read_old(_Named(str(name), (*key, "search_space", str(name))), spec, space)
    elif params is not None or old is not None:
        notes.refuse((*key, "params"), f"must be a mapping, got {found(params if params is not None else old)}")


def _read_old(named: _Named, spec: Any, space: Space) -> None:
    """`{type: float, low: 1e-5, high: 0.1, log: true}`."""
    place, notes = named.place, space.notes
    if not isinstance(spec, Mapping):
        notes.refuse(place, f"must be a mapping, got {found(spec)}", "as in {type: float, low: 0, high: 1}")
        return
    words = {"low": "min", "high": "max"}
    written = {
        words.get(str(k), str(k)): v for k, v in spec.items() if v is not None and not (k == "log" and v is False)
    }
    if written.get("log") and "step" in written:
        notes.remark((*place, "step"), "not taken over: the sweeper leaves it out where `log` is true")
        del written["step"]
    if written.get("type") == "int" and written.get("step") == 1:
        del written["step"]
    if _has_interpolation(spec.values(), place, notes):
        return
    _put(named, written, "", space)


def _read_override(named: _Named, value: Any, space: Space) -> None:
    """`interval(0, 1)`, `range(1, 8)`, `choice(a, b)` and so on."""
    (name, place), notes = named, space.notes
    line = f"{name}={value if isinstance(value, str) else override_text(value)}"
    if _has_interpolation([line], place, notes):
        return
    override = _parsed(line, place, notes)
    if override is None:
        return
    if not override.is_sweep_override():
        space.fixed.append(line if not name.startswith("~") else name)
        return
    given = override.value()
    tags = sorted(set(getattr(given, "tags", ())) - {"log"})
    if tags:
        notes.remark(place, f"the tag {', '.join(tags)} is left out: it says nothing to a sweeper")
    _put_sweep(_Named(override.get_key_element(), place), override, given, space)


def _put_sweep(named: _Named, override: Any, given: Any, space: Space) -> None:
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep

    if isinstance(given, IntervalSweep):
        if not space.by_optuna:
            hint = "list values: choice(...) or range(...)"
            space.notes.refuse(named.place, "the basic sweeper tries every value, and an interval has none", hint)
            return
        _put(named, _interval(given), "", space)
    elif isinstance(given, RangeSweep) and space.by_optuna and not given.shuffle:
        spec = _range(given.start, given.stop, given.step)
        _put(named, spec, "the end included, as the sweeper has it", space)
    elif isinstance(given, ChoiceSweep | RangeSweep):
        shuffled = "shuffled there: the order says nothing to a search" if given.shuffle else ""
        given_order = given.list if isinstance(given, ChoiceSweep) else override.sweep_iterator()
        values = [_plain(each) for each in given_order]
        if isinstance(given, RangeSweep) and len(values) > 1:
            low, high = min(values), max(values)
            _put(named, _range(low, high, given.step), shuffled, space)
        else:
            _put(named, {"type": "categorical", "choices": values}, shuffled, space)
    else:
        told = f"`{override.input_line}` needs Hydra's config groups to be known"
        space.notes.refuse(named.place, told, "list the options: choice(a, b)")


def _parsed(line: str, place: Key, notes: Notes) -> Any:
    try:
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException
    except ImportError as error:
        raise RltuneError(f"Hydra's overrides need its parser: pip install 'rltune[hydra]' ({error})") from error
    try:
        return OverridesParser.create().parse_override(line)
    except HydraException as error:
        told = str(error).partition("\n")[0].strip()
        notes.refuse(place, f"Hydra cannot read {line!r}: {told}")
        return None


def _interval(given: Any) -> dict[str, Any]:
    """Whole where Hydra has both ends as whole numbers, which it has by `int(interval(1, 8))` alone."""
    whole = isinstance(given.start, int) and isinstance(given.end, int)
    log = {"log": True} if "log" in given.tags else {}
    return {"type": "int" if whole else "float", "min": given.start, "max": given.end} | log


def _range(start: Any, stop: Any, step: Any) -> dict[str, Any]:
    """From start on by steps, up to stop at most."""
    start = 0 if start is None else start
    if all(isinstance(each, int) for each in (start, stop, step)):
        return {"type": "int", "min": start, "max": stop} | ({} if step == 1 else {"step": abs(step)})
    low, high, width = (Decimal(repr(float(each))) for each in (start, stop, abs(step)))
    last = low + ((high - low) / width).to_integral_value("ROUND_HALF_EVEN") * width
    top = last if abs(last - high) < width / 1000 else high  # a range adds its steps up with small errors
    return {"type": "float", "min": float(low), "max": float(top), "step": float(width)}


def _plain(value: Any) -> Any:
    return value.text if hasattr(value, "text") and hasattr(value, "quote") else value


def _has_interpolation(values: Iterable[Any], place: Key, notes: Notes) -> bool:
    texts = [value for value in values if isinstance(value, str) and "${" in value]
    if texts:
        notes.refuse(place, f"`{texts[0]}` reads another place of the config", "write the value itself")
    return bool(texts)


def _put(named: _Named, spec: Mapping[str, Any], comment: str, space: Space) -> None:
    name = named.name
    read, problems = read_as(name, spec, named.place)
    space.notes.add(problems)
    if read is not None:
        space.ranged[name], space.read[name] = Ranged(spec, comment), read


def with_defaults(space: Space, data: Mapping[str, Any]) -> dict[str, Ranged]:
    """What the application's own config says of a parameter is its default, where that lies in its range."""
    own = flattened({key: value for key, value in data.items() if key not in ("hydra", "defaults")})
    ranged = {}
    for name, each in space.ranged.items():
        value = own.get(name)
        known = name in own and not isinstance(value, list | dict) and space.read[name].contains(value)
        ranged[name] = Ranged({**each.spec, "default": value}, each.comment) if known else each
    return ranged
