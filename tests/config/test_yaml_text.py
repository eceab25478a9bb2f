"""Values put into the text of a YAML file leave every other line as it is."""

from __future__ import annotations

import difflib
import json

import pytest
from ruamel.yaml import YAML

from rltune.config.edit import YamlText

TEXT = """\
# A study.


name:   small     # its folder
constraints:
    - "a <= b"    # indented by four
    - a + b < 3
search_space:
    lr: {type: float,   min: 1e-4, max: 0.9,
         log: true}   # on two lines
    a:
          type: int     # deep
          min: 1
          max: 8
          when: >
            lr > 0

    b: [float, 0.0, 1.0]  # short
    c:
    - float
    - 1.0
    - 2.0
    # of c
    sizes: &sizes   {type: categorical, choices: [8, 16]}
    other: *sizes   # the same
    third: *sizes
    kinds:
        type: categorical
        choices:
        - x      # the first
        - 'y'
evaluation: {metric: 'score',direction:  maximize}
empty:
"last": "text"
"""


def changed(text: str, *puts: tuple[tuple[str, ...], object] | tuple[tuple[str, ...], object, str]) -> str:
    new = YamlText(text)
    for put in puts:
        new.put(*put)
    return new.changed()


def lines_changed(before: str, after: str) -> tuple[list[str], list[str]]:
    found = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [x[2:] for x in found if x.startswith("- ")], [x[2:] for x in found if x.startswith("+ ")]


@pytest.mark.parametrize(
    ("put", "gone", "new"),
    [
        ((("name",), "small-2"), ["name:   small     # its folder"], ["name:   small-2     # its folder"]),
        ((("seed",), 4, "name"), [], ["seed: 4"]),
        ((("seed",), 4, "nowhere"), [], ["seed: 4"]),
        ((("seed",), 4), [], ["seed: 4"]),
        (
            (("search_space", "lr", "min"), 0.25),
            ["    lr: {type: float,   min: 1e-4, max: 0.9,"],
            ["    lr: {type: float,   min: 0.25, max: 0.9,"],
        ),
        (
            (("search_space", "lr", "default"), 0.5),
            ["         log: true}   # on two lines"],
            ["         log: true, default: 0.5}   # on two lines"],
        ),
        ((("search_space", "a", "max"), 4), ["          max: 8"], ["          max: 4"]),
        ((("search_space", "a", "default"), 2), [], ["          default: 2"]),
        (
            (("search_space", "b"), {"type": "float", "min": 0.5}),
            ["    b: [float, 0.0, 1.0]  # short"],
            ["    b: {type: float, min: 0.5}  # short"],
        ),
        (
            (("search_space", "c"), {"type": "float", "min": 1.5}),
            ["    c:", "    - float", "    - 1.0", "    - 2.0"],
            ["    c: {type: float, min: 1.5}"],
        ),
        (
            (("search_space", "kinds", "choices"), ["x"]),
            ["        choices:", "        - x      # the first", "        - 'y'"],
            ["        choices: [x]"],
        ),
        (
            (("search_space", "other"), {"type": "categorical", "choices": [8]}),
            ["    other: *sizes   # the same"],
            ["    other: {type: categorical, choices: [8]}   # the same"],
        ),
        (
            (("search_space", "sizes"), {"type": "categorical", "choices": [8]}),
            ["    sizes: &sizes   {type: categorical, choices: [8, 16]}", "    other: *sizes   # the same"],
            [
                "    sizes: {type: categorical, choices: [8]}",
                "    other: &sizes {type: categorical, choices: [8, 16]}   # the same",
            ],
        ),
        ((("empty",), 1), ["empty:"], ["empty: 1"]),
        ((("last",), "other"), ['"last": "text"'], ['"last": "other"']),
        (
            (("evaluation", "value"), "best"),
            ["evaluation: {metric: 'score',direction:  maximize}"],
            ["evaluation: {metric: 'score',direction:  maximize, value: best}"],
        ),
    ],
)
def test_only_that_line_differs(put: tuple[tuple[str, ...], object], gone: list[str], new: list[str]) -> None:
    after = changed(TEXT, put)
    assert lines_changed(TEXT, after) == (gone, new)
    expected = YAML(typ="safe", pure=True).load(TEXT)
    at = expected
    for key in put[0][:-1]:
        at = at[key]
    at[put[0][-1]] = put[1]
    assert YAML(typ="safe", pure=True).load(after) == expected


def test_all_at_once_and_new_keys_in_their_order() -> None:
    after = changed(
        TEXT,
        (("name",), "n"),
        (("warm_start",), "runs/x", "name"),
        (("seed",), 4, "name"),
        (("search_space", "a", "max"), 4),
        (("search_space", "a", "default"), 2),
        (("search_space", "a", "prior"), "p"),
    )
    gone, new = lines_changed(TEXT, after)
    assert gone == ["name:   small     # its folder", "          max: 8"]
    assert new == [
        "name:   n     # its folder",
        "warm_start: runs/x",
        "seed: 4",
        "          max: 4",
        "          default: 2",
        "          prior: p",
    ]


def test_an_anchor_that_nobody_else_uses_any_more_is_gone() -> None:
    puts = [(("search_space", name), {"type": "int"}) for name in ("sizes", "other", "third")]
    assert "sizes\n" not in (after := changed(TEXT, *puts))
    assert "*" not in after.partition("search_space")[2]


def test_what_is_shared() -> None:
    text = YamlText(TEXT)
    assert [text.is_shared("search_space", n) for n in ("sizes", "other", "lr")] == [True, True, False]


@pytest.mark.parametrize("text", ["a: 1", "a: 1\n", "{a: 1}", "{}", "{a: 1,}\n"])
def test_the_end_of_the_file(text: str) -> None:
    after = changed(text, (("b",), 2))
    assert YAML(typ="safe", pure=True).load(after)["b"] == 2
    assert after.startswith(text.rstrip("\n},{")[:4])


def test_json_stays_json() -> None:
    text = json.dumps({"name": "x", "space": {"lr": {"min": 1e-5}}}, indent=1)
    after = changed(text, (("warm_start",), "runs/x", "name"), (("space", "lr", "min"), 2e-5), (("seed",), 1))
    assert json.loads(after) == {"name": "x", "warm_start": "runs/x", "space": {"lr": {"min": 2e-5}}, "seed": 1}
