"""What may vary, with conditions, constraints and derived values."""

from rltune.space.expressions import Expression
from rltune.space.grid import Grid
from rltune.space.parameters import NO_DEFAULT, Categorical, Float, Int, NoDefault, Parameter
from rltune.space.reading import parse_parameter, spec_of, split_constants
from rltune.space.search_space import SearchSpace

__all__ = [
    "NO_DEFAULT",
    "Categorical",
    "Expression",
    "Float",
    "Grid",
    "Int",
    "NoDefault",
    "Parameter",
    "SearchSpace",
    "parse_parameter",
    "spec_of",
    "split_constants",
]
