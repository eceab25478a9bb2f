"""A small language for constraints, conditions and derived values, checked before it is run.

::

    hidden_size % num_attention_heads == 0        numbers: + - * / // % **, compared in chains: 1 <= a < b
    optimizer in ['adamw', 'muon'] and lr < 1e-3  text in quotes; and, or, not; in, not in with a written list
    round(log2(batch_size)) if warm else 0        min max abs round int float sqrt log log2 log10; a choice
    grpo.num_prompts_per_step * `a/b-c`           dotted names as they are, any other name in backticks
    use_kl == true and seed != null               true, false, null in YAML's spelling or in Python's

Python's parser reads the text, and only the nodes listed here are accepted; nothing is ever handed to `eval`. Size,
depth and the length of numbers are bounded, so that a study file can neither hang the tuner nor fill its memory.
Values mean what they mean in Python, with two exceptions that catch slips: `and`, `or`, `not` want true or false
(`a == 1 or 2` is an error), and a result that is not finite is an error.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from rltune.errors import Problem, SpaceError
from rltune.wording import did_you_mean, found, listed

MAX_LENGTH = 1_000  # characters
MAX_NODES = 250
MAX_DEPTH = 40
MAX_BITS = 4_096  # of an integer result; a float ends at 1,024
MAX_DIGITS = 300  # for round(x, digits)

_Run: TypeAlias = Callable[[Mapping[str, Any]], Any]


class NoValueError(SpaceError):
    """An expression came upon a name without a value: usually a parameter that is not active."""


class _ComputingError(Exception):
    """Why a value cannot be computed; becomes a `SpaceError` that also names the expression and its values."""


@dataclass(frozen=True)
class Expression:
    """A text of the language above, parsed once.

    Attributes:
        text: As the user wrote it.
        names: Every name that the text refers to, without backticks.

    Raises:
        SpaceError: The text is not an expression of this language; the key of its problem is empty.
    """

    text: str
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    _run: _Run = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tree, quoted = _parse(self.text)
        reader = _Reader(self.text, quoted)
        object.__setattr__(self, "_run", reader.read(tree))
        object.__setattr__(self, "names", frozenset(reader.names))

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The result, given a value for each name that the evaluation comes upon.

        Raises:
            NoValueError: A name that is needed has no value.
            SpaceError: Division by zero, text where a number is needed, a result out of bounds.
        """
        try:
            return self._run(values)
        except _ComputingError as error:
            reason = str(error)
        except ZeroDivisionError:
            reason = "division by zero"
        except OverflowError:
            reason = "the result is too large"
        raise SpaceError([Problem((), f"`{self.text}` cannot be computed: {reason}{self._given(values)}")])

    def is_true(self, values: Mapping[str, Any]) -> bool:
        """The result of an expression that must be true or false.

        Raises:
            SpaceError: As `evaluate`, and when the result is neither true nor false.
        """
        result = self.evaluate(values)
        if isinstance(result, bool):
            return result
        message = f"`{self.text}` must be true or false, but gives {found(result)}{self._given(values)}"
        raise SpaceError([Problem((), message, "compare it with something, as in `... == 0`")])

    def _given(self, values: Mapping[str, Any]) -> str:
        given = ", ".join(f"{name} = {values[name]!r}" for name in sorted(self.names) if name in values)
        return f", with {given}" if given else ""

    def __reduce__(self) -> tuple[type[Expression], tuple[str]]:
        return Expression, (self.text,)

    def __str__(self) -> str:
        return self.text


_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`([^`]*)`""")


def _parse(text: Any) -> tuple[ast.expr, dict[str, str]]:
    """Python's syntax tree, and the names in backticks by the placeholders that stand for them in the tree."""
    if not isinstance(text, str):
        _refuse(f"an expression is text, got {found(text)}", "put it in quotes")
    if not text.strip():
        _refuse("the expression is empty")
    if len(text) > MAX_LENGTH:
        _refuse(f"the expression has {len(text)} characters, {MAX_LENGTH} are allowed")
    quoted: dict[str, str] = {}

    def placeholder(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        key = f"_q{len(quoted)}_{'_' * len(text)}"  # longer than any name in the text
        quoted[key] = match[1]
        return f" {key} "

    source = _QUOTED.sub(placeholder, text).strip().replace("\n", " ")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as an unknown escape in a string
            return ast.parse(source, mode="eval").body, quoted
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning):
        _refuse(f"`{text}` cannot be read", _syntax_hint(text))


def _syntax_hint(text: str) -> str:
    bare = _QUOTED.sub("", text)
    if re.search(r"(?<![=!<>])=(?!=)", bare):
        return "two things are compared with `==`"
    if re.search(r"&&|\|\||!(?!=)", bare):
        return "write `and`, `or`, `not`"
    if "`" in bare:
        return "a backtick is not closed"
    return "names that are not plain dotted words go in backticks, text goes in quotes"


def _refuse(message: str, hint: str = "") -> NoReturn:
    raise SpaceError([Problem((), message, hint)])


class _Reader:
    """Turns a syntax tree into a function, or refuses it; gathers the names on the way."""

    def __init__(self, text: str, quoted: Mapping[str, str]) -> None:
        self.names: set[str] = set()
        self._text = text
        self._quoted = quoted
        self._nodes = 0
        self._depth = 0

    def read(self, node: ast.expr) -> _Run:
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            _refuse(f"`{self._text}` is too long or too deeply nested", "split it with a derived value")
        read = _READERS.get(type(node))
        if read is None:
            self._refuse_part(node)
        run = read(self, node)
        self._depth -= 1
        return run

    def constant(self, node: ast.Constant) -> _Run:
        value = node.value
        if not (value is None or isinstance(value, bool | int | float | str)):
            self._refuse_part(node)
        if isinstance(value, float) and not math.isfinite(value):
            _refuse(f"`{self._text}` holds a number that is not finite")
        return lambda _: value

    def name(self, node: ast.Name) -> _Run:
        if node.id not in self._quoted and node.id.casefold() in _LITERALS:
            literal = _LITERALS[node.id.casefold()]
            return lambda _: literal
        return self._lookup(self._quoted.get(node.id, node.id))

    def attribute(self, node: ast.Attribute) -> _Run:
        parts: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            self._refuse_part(node)
        parts.append(self._quoted.get(inner.id, inner.id))
        return self._lookup(".".join(reversed(parts)))

    def _lookup(self, name: str) -> _Run:
        self.names.add(name)
        text = self._text

        def run(values: Mapping[str, Any]) -> Any:
            try:
                return values[name]
            except KeyError:
                raise NoValueError([Problem((), f"`{text}` needs `{name}`, which has no value")]) from None

        return run

    def unary(self, node: ast.UnaryOp) -> _Run:
        operand = self.read(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda values: not _truth(operand(values), "not")
        sign = _SIGNS.get(type(node.op))
        if sign is None:
            self._refuse_part(node)
        return lambda values: sign(_number(operand(values), "a sign"))

    def binary(self, node: ast.BinOp) -> _Run:
        found_operator = _ARITHMETIC.get(type(node.op))
        if found_operator is None:
            self._refuse_part(node, "a power is written `**`" if isinstance(node.op, ast.BitXor) else "")
        symbol, compute = found_operator
        left, right = self.read(node.left), self.read(node.right)

        def run(values: Mapping[str, Any]) -> Any:
            return _bounded(compute(_number(left(values), symbol), _number(right(values), symbol)))

        return run

    def boolean(self, node: ast.BoolOp) -> _Run:
        parts = [self.read(value) for value in node.values]
        if isinstance(node.op, ast.And):
            return lambda values: all(_truth(part(values), "and") for part in parts)
        return lambda values: any(_truth(part(values), "or") for part in parts)

    def compare(self, node: ast.Compare) -> _Run:
        first = self.read(node.left)
        steps: list[tuple[Callable[[Any, Any], bool], _Run]] = []
        for comparison, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(comparison, ast.In | ast.NotIn):
                steps.append((_MEMBERSHIP[type(comparison)], self._written_list(right)))
            elif type(comparison) in _COMPARISONS:
                steps.append((_COMPARISONS[type(comparison)], self.read(right)))
            else:
                self._refuse_part(node, "compare with `==` or `!=`")

        def run(values: Mapping[str, Any]) -> bool:
            left = first(values)
            for holds, read_right in steps:
                right = read_right(values)
                if not holds(left, right):
                    return False
                left = right
            return True

        return run

    def _written_list(self, node: ast.expr) -> _Run:
        if not isinstance(node, ast.List | ast.Tuple):
            _refuse(f"`{self._text}`: `in` needs a written list", "as in `optimizer in ['adamw', 'muon']`")
        outside, self.names = self.names, set()
        runs = [self.read(element) for element in node.elts]
        inside, self.names = self.names, outside
        if inside:
            _refuse(f"`{self._text}`: the list after `in` holds the name {listed(sorted(inside))}", "quote text")
        return lambda values: tuple(run(values) for run in runs)

    def call(self, node: ast.Call) -> _Run:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name is None or node.keywords:
            self._refuse_part(node)
        if name not in _FUNCTIONS:
            _refuse(f"`{self._text}`: there is no function `{name}`", did_you_mean(name, _FUNCTIONS))
        fewest, most, function = _FUNCTIONS[name]
        if not fewest <= len(node.args) <= most:
            _refuse(f"`{self._text}`: `{name}` takes {_arguments(fewest, most)}, got {len(node.args)}")
        arguments = [self.read(argument) for argument in node.args]

        def run(values: Mapping[str, Any]) -> Any:
            numbers = [_number(argument(values), name) for argument in arguments]
            try:
                return _bounded(function(*numbers))
            except ValueError:
                raise _ComputingError(f"`{name}` is not defined for {', '.join(map(repr, numbers))}") from None

        return run

    def choice(self, node: ast.IfExp) -> _Run:
        condition, then, otherwise = (self.read(part) for part in (node.test, node.body, node.orelse))
        return lambda values: then(values) if _truth(condition(values), "if") else otherwise(values)

    def _refuse_part(self, node: ast.expr, hint: str = "") -> NoReturn:
        part = _PARTS.get(type(node), type(node).__name__)
        allowed = "allowed: arithmetic, comparisons, and, or, not, in with a list, " + listed(_FUNCTIONS)
        _refuse(f"`{self._text}`: {part} is not part of the expression language", hint or allowed)


def _number(value: Any, where: str) -> int | float:
    if isinstance(value, int | float):
        return value
    raise _ComputingError(f"`{where}` needs numbers, got {found(value)}")


def _truth(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _ComputingError(f"`{where}` needs true or false, got {found(value)}")


def _bounded(value: Any) -> Any:
    if isinstance(value, complex):
        raise _ComputingError("the result is not a real number")
    if isinstance(value, float) and not math.isfinite(value):
        raise OverflowError
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise OverflowError
    return value


def _power(base: float, exponent: float) -> Any:
    both_int = isinstance(base, int) and isinstance(exponent, int)
    if both_int and (int(base).bit_length() - 1) * int(exponent) > MAX_BITS:  # a lower bound of the result's size
        raise OverflowError
    return base**exponent


def _round(value: float, digits: float | None = None) -> float:
    if digits is None:
        return round(value)
    if not isinstance(digits, int) or abs(digits) > MAX_DIGITS:
        raise ValueError(digits)
    return round(value, digits)


def _ordered(symbol: str, compute: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        both_text = isinstance(left, str) and isinstance(right, str)
        both_numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not (both_text or both_numbers):
            raise _ComputingError(f"`{symbol}` cannot order {found(left)} and {found(right)}")
        return compute(left, right)

    return compare


def _arguments(fewest: int, most: int) -> str:
    if fewest == most:
        return "one argument" if most == 1 else f"{most} arguments"
    return f"{fewest} or more arguments" if most == MAX_NODES else f"{fewest} to {most} arguments"


_LITERALS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "none": None}

_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}

_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", _power),
}

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: _ordered("<", operator.lt),
    ast.LtE: _ordered("<=", operator.le),
    ast.Gt: _ordered(">", operator.gt),
    ast.GtE: _ordered(">=", operator.ge),
}

_MEMBERSHIP: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}

_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {  # fewest and most arguments
    "min": (2, MAX_NODES, min),
    "max": (2, MAX_NODES, max),
    "abs": (1, 1, abs),
    "round": (1, 2, _round),
    "int": (1, 1, int),
    "float": (1, 1, float),
    "sqrt": (1, 1, math.sqrt),
    "log": (1, 2, math.log),
    "log2": (1, 1, math.log2),
    "log10": (1, 1, math.log10),
}

_READERS: dict[type[ast.expr], Callable[[_Reader, Any], _Run]] = {
    ast.Constant: _Reader.constant,
    ast.Name: _Reader.name,
    ast.Attribute: _Reader.attribute,
    ast.UnaryOp: _Reader.unary,
    ast.BinOp: _Reader.binary,
    ast.BoolOp: _Reader.boolean,
    ast.Compare: _Reader.compare,
    ast.Call: _Reader.call,
    ast.IfExp: _Reader.choice,
}

_PARTS: dict[type[ast.expr], str] = {  # how a refused part is called in an error
    ast.Lambda: "`lambda`",
    ast.List: "a list outside of `in`",
    ast.Tuple: "a list outside of `in`",
    ast.Dict: "a mapping",
    ast.Set: "a set",
    ast.Subscript: "`[...]` after a name",
    ast.JoinedStr: "a formatted text",
    ast.Call: "this call",
    ast.Compare: "`is`",
    ast.BinOp: "this operator",
    ast.UnaryOp: "this operator",
    ast.Constant: "this literal",
    ast.Attribute: "`.` after anything but a name",
    ast.NamedExpr: "`:=`",
}
