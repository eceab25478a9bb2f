"""An expression over a recipe's keys, told which of them vary: what does not vary is computed, so that little is left.

`sequence_packing or batch * TP * CP % (W * micro_batch) == 0` becomes `batch % micro_batch == 0` on one GPU without
packing, and `True` with it. Expressions are Python's syntax trees here; their texts are in the language of
`rltune.space.expressions`, which also computes them.
"""

from __future__ import annotations

import ast
import copy
import functools
import keyword
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rltune.errors import SpaceError
from rltune.space.expressions import Expression
from rltune.trainers.nemo_rl.recipe import Recipe
from rltune.trainers.nemo_rl.rules import value
from rltune.types import Scalar
from rltune.wording import found

_VARIES: Final = object()  # stands for a value that is not known yet
_TOKEN = re.compile(r"\$\{|[}:,]|[^\s${}:,]+")
_OPERATORS: Mapping[str, ast.operator] = {"mul": ast.Mult(), "add": ast.Add(), "div": ast.Div()}


def parsed(text: str) -> ast.expr:
    """The tree of a text in Python's syntax, over dotted keys."""
    return ast.parse(text, mode="eval").body


def named(text: str) -> ast.Name:
    """The name of a parameter or a key, in backticks where the language of expressions needs them."""
    words = [part.isidentifier() and part.isascii() and not keyword.iskeyword(part) for part in text.split(".")]
    return ast.Name(text if all(words) else f"`{text}`")


def text_of(node: ast.expr) -> str:
    """The text of an expression, with null, true and false as in a YAML file."""
    return ast.unparse(_InYaml().visit(copy.deepcopy(node)))


class _InYaml(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        word = found(node.value)
        return ast.Name(word) if word in ("null", "true", "false") else node


class Terms:
    """What stands for each key of a recipe.

    Attributes:
        recipe: Its values are the constants.
        moves: The keys that vary, each with the formula of its value.
    """

    def __init__(self, recipe: Recipe, moves: Mapping[str, ast.expr]) -> None:
        self.recipe = recipe
        self.moves = dict(moves)
        self._known: dict[str, Any] = {}

    def of(self, key: str) -> ast.expr:
        """The formula of the value at `key`: over tuned names where it varies, else a constant.

        A number that the recipe holds keeps its key, for the reader's sake; `fold` knows its value.
        """
        if key in self.moves:
            return self.moves[key]
        raw = self.recipe.raw(key)
        formula = _interpolation(raw, key) if isinstance(raw, str) else None
        followed = self.try_fold(formula) if formula is not None else None
        if followed is not None and self.varies(followed):
            return followed
        constant = value(self.recipe, key)
        if self.recipe.has(key) and isinstance(constant, int | float) and not isinstance(constant, bool):
            self._known[key] = constant
            return named(key)
        return ast.Constant(constant if isinstance(constant, Scalar) else None)

    def varies(self, folded: ast.expr) -> bool:
        """Whether a tuned name is left in a folded expression."""
        return any(key not in self._known for key in _names(folded))

    def key_varies(self, key: str) -> bool:
        """Whether the value at `key` depends on a tuned name."""
        return self.varies(self.of(key))

    def fold(self, node: ast.expr) -> ast.expr:
        """The expression with its keys replaced by their formulas, and computed as far as it can be now.

        Raises:
            SpaceError: A part that does not vary cannot be computed, such as the product of a number and null.
        """
        match node:
            case ast.Attribute() | ast.Name():
                folded = self.of(ast.unparse(node).strip("`"))
            case ast.BoolOp(op, values):
                folded = self._boolean(op, values)
            case ast.IfExp(test, body, orelse):
                folded = self._chosen(self.fold(test), body, orelse)
            case ast.UnaryOp(op, operand):
                folded = self._computed(ast.UnaryOp(op, self.fold(operand)))
            case ast.BinOp(left, op, right):
                folded = self._computed(self._without_ones(ast.BinOp(self.fold(left), op, self.fold(right))))
            case ast.Call(func, args):
                folded = self._computed(ast.Call(func, [self.fold(each) for each in args], []))
            case ast.Compare(left, ops, comparators):
                first, *others = [self.fold(each) for each in (left, *comparators)]
                folded = self._compared(self._computed(ast.Compare(first, ops, others)))
            case _:  # a constant, or the list after `in`
                folded = node
        return folded

    def try_fold(self, node: ast.expr) -> ast.expr | None:
        """As `fold`, but None for what cannot be computed."""
        try:
            return self.fold(node)
        except SpaceError:
            return None

    def _chosen(self, condition: ast.expr, then: ast.expr, otherwise: ast.expr) -> ast.expr:
        if (known := self._value(condition)) is _VARIES:
            return ast.IfExp(condition, self.fold(then), self.fold(otherwise))
        return self.fold(then if known else otherwise)

    def _boolean(self, op: ast.boolop, values: Iterable[ast.expr]) -> ast.expr:
        """Stops at the first part that decides, as computing would; parts that decide nothing are left out."""
        deciding = isinstance(op, ast.Or)
        left: list[ast.expr] = []
        for each in values:
            folded = self.fold(each)
            known = self._value(folded)
            if known is _VARIES:
                left += folded.values if isinstance(folded, ast.BoolOp) and type(folded.op) is type(op) else [folded]
            elif bool(known) is deciding:
                return ast.Constant(deciding)
        texts = {ast.unparse(each) for each in left}
        if any(ast.unparse(ast.UnaryOp(ast.Not(), each)) in texts for each in left):  # one or the other is true
            return ast.Constant(deciding)
        if not left:
            return ast.Constant(not deciding)
        return left[0] if len(left) == 1 else ast.BoolOp(op, left)

    def _computed(self, node: ast.expr) -> ast.expr:
        """The value of a node that does not vary; a number of the recipe by itself stays a name."""
        if self.varies(node) or isinstance(node, ast.Name):
            return node
        return ast.Constant(Expression(ast.unparse(node)).evaluate(self._known))

    def _without_ones(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, ast.Mult):
            for factor, other in ((node.left, node.right), (node.right, node.left)):
                if self._value(factor) == 1:
                    return other
        return node

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(constant):
                return constant
            case ast.Name(text):
                return self._known.get(text.strip("`"), _VARIES)
        return _VARIES

    def _compared(self, node: ast.expr) -> ast.expr:
        """A comparison of two sides, decided where that needs no value: both are the same, or multiples of the same."""
        match node:
            case ast.Compare(ast.BinOp(left, ast.Mod(), right), [ast.Eq()], [ast.Constant(0)]):
                return ast.Constant(True) if self._value(right) == 1 else self._computed(_divisible(left, right))
            case ast.Compare(left, [ast.Eq()], [right]) if ast.unparse(left) == ast.unparse(right):
                return ast.Constant(True)
            case ast.Compare(left, [ast.GtE()], [right]):
                (a, of_left), (b, of_right) = self._product(left), self._product(right)
                scaled = a != 1 and b == 0 and not of_right
                if of_left and (of_left == of_right or scaled):  # learning rates in proportion; none is below 0
                    return ast.Constant(a >= b)
            case ast.Compare(left, [ast.LtE()], [right]):
                (a, of_left), (b, of_right) = self._product(left), self._product(right)
                if a <= b and of_left <= of_right and (of_left or a > 1):  # x <= x · n, where n is a count
                    return ast.Constant(True)
        return node

    def _product(self, node: ast.expr) -> tuple[float, Counter[str]]:
        """A product as the number that is known of it, and its other factors."""
        known, others = 1.0, Counter[str]()
        for factor in _factors(node):
            number = self._value(factor)
            if isinstance(number, int | float):
                known *= number
            else:
                others[ast.unparse(factor)] += 1
        return known, others


def _divisible(above: ast.expr, below: ast.expr) -> ast.expr:
    """`above % below == 0` without the factors that both have."""
    a, numerator = _split(above)
    b, denominator = _split(below)
    if b == 0:
        return _is_multiple(above, below)
    left_below = []
    for factor in denominator:
        twin = next((each for each in numerator if ast.unparse(each) == ast.unparse(factor)), None)
        if twin is None:
            left_below.append(factor)
        else:
            numerator.remove(twin)
    shared = math.gcd(a, b)
    a, b = a // shared, b // shared
    if not left_below:
        if b == 1:
            return ast.Constant(True)
        a = 1  # it has no factor in common with b any more
    return _is_multiple(_times(a, numerator), _times(b, left_below))


def _is_multiple(above: ast.expr, below: ast.expr) -> ast.Compare:
    return ast.Compare(ast.BinOp(above, ast.Mod(), below), [ast.Eq()], [ast.Constant(0)])


def _factors(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp(left, ast.Mult(), right):
            return [*_factors(left), *_factors(right)]
    return [node]


def _split(node: ast.expr) -> tuple[int, list[ast.expr]]:
    """A product as its whole number and its other factors."""
    number, others = 1, []
    for factor in _factors(node):
        match factor:
            case ast.Constant(int(constant)):
                number *= constant
            case _:
                others.append(factor)
    return number, others


def _times(number: int, factors: Sequence[ast.expr]) -> ast.expr:
    numbers = [] if number == 1 and factors else [ast.Constant(number)]
    return functools.reduce(lambda a, b: ast.BinOp(a, ast.Mult(), b), [*factors, *numbers])


def _names(node: ast.AST) -> Iterator[str]:
    """The names that an expression reads; not those of its functions."""
    match node:
        case ast.Name(text):
            yield text.strip("`")
        case ast.Call(args=arguments):
            for each in arguments:
                yield from _names(each)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _names(child)


def _interpolation(text: str, key: str) -> ast.expr | None:
    """The formula that an interpolation such as `${mul:${..batch}, 2}` stands for; None where it is another text."""
    tokens = _TOKEN.findall(text)
    try:
        formula = _formula(tokens, key)
    except (IndexError, KeyError, ValueError):
        return None
    return None if tokens else formula


def _formula(tokens: list[str], key: str) -> ast.expr:
    """Takes one argument of a resolver, or one interpolation, off the tokens.

    Raises:
        IndexError, KeyError, ValueError: It is nothing that an expression can say.
    """
    if (first := tokens.pop(0)) != "${":
        return ast.Constant(float(first) if "." in first else int(first))
    head = tokens.pop(0)
    if (mark := tokens.pop(0)) == "}":
        dots = len(head) - len(head.lstrip("."))  # one dot is the key's own section
        return named(".".join([*key.split(".")[:-dots], head[dots:]]) if dots else head)
    arguments = []
    while mark != "}":
        arguments.append(_formula(tokens, key))
        mark = tokens.pop(0)
    first_argument, second = arguments
    if head == "max":
        return ast.Call(ast.Name("max"), [first_argument, second], [])
    return ast.BinOp(first_argument, _OPERATORS[head], second)
