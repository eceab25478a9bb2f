"""Every trial as a Parquet table, in which whole numbers, booleans and choices stay what they are."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rltune.errors import RltuneError
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.space import Categorical, Int, Parameter
from rltune.space.reading import spec_of

if TYPE_CHECKING:
    import pyarrow as pa

_FACTS = {
    "number": "int64",
    "purpose": "string",
    "state": "string",
    "cause": "string",
    "stopped_by": "string",
    "feasible": "bool_",
    "seed": "int64",
    "seconds": "float64",
    "retry_of": "int64",
    "parent": "int64",
    "parent_step": "int64",
    "source": "int64",
}
"""What is known of every trial, with the names of pyarrow's types."""


class _Column(NamedTuple):
    name: str
    type: Any
    values: list[Any]
    meaning: dict[str, str]


def trials_parquet(
    records: Sequence[TrialRecord], parameters: Mapping[str, Parameter], objectives: Sequence[Objective]
) -> bytes:
    """One row a trial, by number; a parameter that is not active and a value that is missing are null.

    Columns are typed: a `float` is a double, an `int` a 64-bit integer, choices of one kind are that kind, numbers with
    and without a fraction doubles, and texts a dictionary. Choices of several kinds, and null among the choices of a
    parameter that has a condition, are JSON text, so that `null` is not taken for an inactive parameter. A parameter's
    column says in its metadata, under `rltune`, how it was searched. Where two columns would have one name, a
    parameter's is `param.NAME`, a metric's `metric.NAME`.

    Raises:
        RltuneError: pyarrow is missing.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise RltuneError(f"Parquet needs pyarrow: pip install 'rltune[parquet]' ({error})") from error
    columns = [*_facts(pa, records), *_measured(pa, records, objectives), *_parameters(pa, records, parameters)]
    table = pa.table(
        [pa.array(column.values, column.type) for column in columns],
        schema=pa.schema([pa.field(c.name, c.type, metadata=c.meaning or None) for c in columns]),
    )
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


def _facts(pa: Any, records: Sequence[TrialRecord]) -> list[_Column]:
    rows = [record.to_json() for record in records]
    return [_Column(name, getattr(pa, kind)(), [row[name] for row in rows], {}) for name, kind in _FACTS.items()]


def _measured(pa: Any, records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[_Column]:
    """The objectives first, then the last value of every other metric."""
    columns = []
    for i, objective in enumerate(objectives):
        values = [None if record.values is None else record.values[i] for record in records]
        columns.append(_Column(_free("metric", objective.metric, _FACTS), pa.float64(), values, {}))
    taken = [*_FACTS, *(objective.metric for objective in objectives)]
    for name in sorted({name for record in records for name in record.metrics} - {o.metric for o in objectives}):
        values = [record.metrics.get(name) for record in records]
        columns.append(_Column(_free("metric", name, taken), pa.float64(), values, {}))
    return columns


def _parameters(pa: Any, records: Sequence[TrialRecord], parameters: Mapping[str, Parameter]) -> list[_Column]:
    measured = {name for record in records for name in record.metrics}
    columns = []
    for name, parameter in parameters.items():
        kind, as_text = _type(pa, parameter)
        values = [record.params.get(name) for record in records]
        if as_text:
            values = [json.dumps(record.params[name]) if name in record.params else None for record in records]
        meaning = {"rltune": json.dumps(spec_of(parameter))}
        columns.append(_Column(_free("param", name, [*_FACTS, *measured]), kind, values, meaning))
    return columns


def _type(pa: Any, parameter: Parameter) -> tuple[pa.DataType, bool]:
    """The column's type, and whether values are written as JSON text."""
    if not isinstance(parameter, Categorical):
        return (pa.int64() if isinstance(parameter, Int) else pa.float64()), False
    kinds = {type(choice) for choice in parameter.choices}
    ambiguous = type(None) in kinds and parameter.when is not None
    kinds.discard(type(None))
    if kinds == {int, float}:  # as in `[0, 0.1, 0.2]`
        kinds = {float}
    plain = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.dictionary(pa.int32(), pa.string())}
    if len(kinds) == 1 and not ambiguous:
        return plain[kinds.pop()], False
    return pa.dictionary(pa.int32(), pa.string()), True


def _free(prefix: str, name: str, taken: Any) -> str:
    return f"{prefix}.{name}" if name in taken else name
