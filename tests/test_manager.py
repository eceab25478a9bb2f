"""The manager of configurations: what is saved comes back, what is edited keeps its comments, what was is kept."""

from __future__ import annotations

import datetime as dt
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rltune import HyperparameterManager
from rltune.errors import FolderError, InputError, StudyFileError

CONFIG = {"learning_rate": 1e-5, "nested": {"a": None, "b": [1, 2.5]}, "text": "é"}

LOOK_ALIKES = [
    "1e-5",
    "1",
    "0x10",
    "yes",
    "on",
    "No",
    "true",
    "null",
    "~",
    "",
    " ",
    "2024-01-01",
    ".inf",
    "<<",
    "- a",
    "#",
]
texts = st.sampled_from(LOOK_ALIKES) | st.text(max_size=8) | st.text("ab1.e-+ '\"\\=,:#{}[]&*!|>%@\t\n\r~", max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
keys = texts | st.integers()
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
configs = st.dictionaries(keys, values, max_size=4)
few = settings(max_examples=40, deadline=None)


@pytest.fixture
def manager(tmp_path: Path) -> HyperparameterManager:
    return HyperparameterManager(tmp_path / "configs")


def by_hand(manager: HyperparameterManager, name: str, text: str) -> Path:
    file = manager.config_dir / f"{name}.yaml"
    file.write_bytes(text.encode())
    return file


class TestSaveAndLoad:
    def test_as_the_guide_does(self, tmp_path):
        manager = HyperparameterManager(str(tmp_path / "deep" / "configs"))
        manager.save_config(CONFIG, "one")
        manager.save_config({}, "another")
        assert manager.load_config("one") == CONFIG
        assert manager.load_config("another") == {}
        assert manager.list_configs() == ["another", "one"]
        assert (tmp_path / "deep" / "configs" / "one.yaml").is_file()

    @few
    @given(configs)
    def test_what_is_loaded_is_what_was_saved(self, config):
        with tempfile.TemporaryDirectory() as folder:
            manager = HyperparameterManager(folder)
            manager.save_config(config, "x")
            assert repr(manager.load_config("x")) == repr(config)  # bit for bit, in order, with types

    @pytest.mark.parametrize("value", [1e-5, 0.1, 5e-324, 1.7976931348623157e308, 1e16, 1e22, -0.0, math.inf, math.nan])
    def test_floats_come_back_bit_for_bit(self, manager, value):
        manager.save_config({"x": value}, "x")
        loaded = manager.load_config("x")["x"]
        assert type(loaded) is float
        assert loaded.hex() == value.hex()

    def test_others_read_the_files_alike(self, manager):
        config = {"lr": 1e-5, "big": 1e22, "text": "1e-5", "yes": "on", "day": "2024-01-01", "n": 3, "none": None}
        manager.save_config(config, "x")
        assert YAML(typ="safe").load(manager.config_dir / "x.yaml") == config

    def test_what_has_no_form_of_its_own_becomes_plain(self, manager):
        given = {
            "betas": (0.9, 0.95),
            "seed": np.int64(3),
            "lr": np.float64(1e-5),
            "half": np.float32(0.5),
            "on": np.bool_(True),
            "grid": np.arange(2),
            "path": Path("a/b"),
            "inner": OrderedDict(x=MappingProxyType({"y": 1})),
        }
        manager.save_config(given, "x")
        plain = {
            "betas": [0.9, 0.95],
            "seed": 3,
            "lr": 1e-5,
            "half": 0.5,
            "on": True,
            "grid": [0, 1],
            "path": "a/b",
            "inner": {"x": {"y": 1}},
        }
        assert repr(manager.load_config("x")) == repr(plain)

    def test_what_cannot_come_back_is_refused_all_at_once(self, manager):
        config = {"a": {1.5: 1, None: 2}, "b": [{"c": {1, 2}}], "day": dt.date(2024, 1, 1), "z": b"x", "t": dt.time()}
        with pytest.raises(InputError) as caught:
            manager.save_config(config, "x")
        assert [str(problem) for problem in caught.value.problems] == [
            "a: a key must be text or a whole number, got 1.5, a float (write it as text)",
            "a: a key must be text or a whole number, got None, a NoneType (write it as text)",
            "b.0.c: a set cannot be saved (write it as a list)",
            "day: a date cannot be saved (write it as text)",
            "z: a bytes cannot be saved (text, numbers, true, false, null, lists and mappings can be)",
            "t: a time cannot be saved (text, numbers, true, false, null, lists and mappings can be)",
        ]
        assert manager.list_configs() == []

    def test_a_list_is_no_configuration(self, manager):
        with pytest.raises(InputError, match="a configuration is a mapping, got a list"):
            manager.save_config([1], "x")

    def test_what_contains_itself_is_refused(self, manager):
        config: dict = {"a": {"b": []}}
        config["a"]["b"] += [config["a"], config["a"]]
        with pytest.raises(InputError, match=r"a\.b\.0: contains itself"):
            manager.save_config(config, "x")

    def test_a_hundred_levels_are_no_trouble_and_more_are_refused(self, manager):
        def nested(depth: int) -> dict:
            return {"x": nested(depth - 1)} if depth else {}

        manager.save_config(nested(100), "deep")
        assert manager.load_config("deep") == nested(100)
        with pytest.raises(InputError, match=r"x\.x\.x: is nested more than 100 levels deep"):
            manager.save_config(nested(101), "deeper")

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "configs").write_text("")
        with pytest.raises(FolderError, match=f"{tmp_path}/configs: File exists"):
            HyperparameterManager(tmp_path / "configs")


class TestNames:
    @pytest.mark.parametrize("name", ["grpo", "lr=1e-5", "größe 2", "a.b-c_d", "v1.2", "x" * 200, "[1]", "~x"])
    def test_most_names_will_do(self, manager, name):
        manager.save_config({"x": 1}, name)
        manager.save_config({"x": 2}, name)
        assert manager.list_configs() == [name]
        assert manager.load_config(name) == {"x": 2}
        assert manager.load_config(name, version=1) == {"x": 1}

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "../x",
                "/etc/x",
                "a/b",
                "a\\b",
                "C:x",
                "a\0b",
                "a\nb",
                "x" * 201,
                "é" * 101,
                "x" * 300,
                "",
                ".",
                "..",
                ".x",
            ),
            *("x.", " x", "x ", "a*", "a?", 'a"', "<a>", "a|b", "\ud800", 3, None, Path("x")),
        ],
    )
    def test_no_name_leaves_the_folder_or_breaks_it(self, manager, name, tmp_path):
        before = sorted(tmp_path.rglob("*"))
        for use in (
            lambda: manager.save_config({}, name),
            lambda: manager.load_config(name),
            lambda: manager.edit_config(name, {"x": 1}),
            lambda: manager.history(name),
            lambda: manager.delete(name),
        ):
            with pytest.raises(ValueError, match=r"cannot name a configuration \(a name has 1 to 200 bytes"):
                use()
        assert [path for path in sorted(tmp_path.rglob("*")) if ".history" not in path.parts] == before

    def test_a_missing_name_says_what_was_meant_and_what_is_there(self, manager):
        manager.save_config({}, "grpo_small")
        manager.save_config({}, "dapo")
        with pytest.raises(InputError) as caught:
            manager.load_config("grpo-small")
        assert str(caught.value) == (
            f"there is no configuration `grpo-small` in {manager.config_dir}"
            " (did you mean `grpo_small`? there is `dapo`, `grpo_small`)"
        )
        with pytest.raises(InputError, match="there is none yet"):
            HyperparameterManager(manager.config_dir / "empty").load_config("x")


class TestWrittenByHand:
    def test_is_read_as_people_mean_it(self, manager):
        by_hand(manager, "x", "# mine\nbase: &b {lr: 1e-5}\nother: *b\nmerged:\n  <<: *b\n  on: on  # text\n")
        assert manager.load_config("x") == {
            "base": {"lr": 1e-5},
            "other": {"lr": 1e-5},
            "merged": {"lr": 1e-5, "on": "on"},
        }

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: 1\nb: [1, 2\n", r"x\.yaml:2: the list opened here with `\[` is not closed"),
            ("a: 1\nb: 2\na: 3\n", r"x\.yaml:3: a: stands twice in one mapping: on line 1 and on line 3"),
            ("a: 1\n\tb: 2\n", r"x\.yaml:2: "),
            ("- 1\n", r"x\.yaml:1: holds a list, not keys with values"),
            ("", r"x\.yaml: is empty"),
            ("a: !!python/object:os.system x\n", r"x\.yaml:1: a: carries the tag"),
        ],
    )
    def test_broken_yaml_names_file_and_line(self, manager, text, message):
        by_hand(manager, "x", text)
        with pytest.raises(StudyFileError, match=message):
            manager.load_config("x")

    def test_only_configurations_are_listed(self, manager):
        manager.save_config({}, "x")
        manager.save_config({"a": 1}, "x")
        by_hand(manager, ".hidden", "a: 1\n")
        (manager.config_dir / "notes.txt").write_text("")
        (manager.config_dir / "folder.yaml").mkdir()
        (manager.config_dir / ".y.yaml.123").write_text("half of a fi")  # what a killed process leaves
        assert manager.list_configs() == ["x"]


class TestHistory:
    def test_keeps_what_was_replaced_and_leads_back(self, manager):
        start = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        for lr in (1, 2, 3):
            manager.save_config({"lr": lr}, "x")
        history = manager.history("x")
        assert [(v.number, v.config) for v in history] == [(1, {"lr": 1}), (2, {"lr": 2}), (3, {"lr": 3})]
        times = [v.time for v in history]
        assert times == sorted(times)
        assert start < times[0] <= times[-1] < dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
        assert [manager.load_config("x", version=n) for n in (1, 2, 3)] == [{"lr": 1}, {"lr": 2}, {"lr": 3}]
        manager.save_config(manager.load_config("x", version=1), "x")
        assert manager.load_config("x") == {"lr": 1}
        assert [v.number for v in manager.history("x")] == [1, 2, 3, 4]

    def test_the_same_again_adds_nothing_and_leaves_comments(self, manager):
        file = by_hand(manager, "x", "lr: 1e-5  # mine\nbetas: [0.9, 0.95]\n")
        manager.save_config({"lr": 1e-5, "betas": (0.9, 0.95)}, "x")
        manager.edit_config("x", {"lr": 1e-5})
        assert file.read_text() == "lr: 1e-5  # mine\nbetas: [0.9, 0.95]\n"
        assert len(manager.history("x")) == 1

    @pytest.mark.parametrize(("old", "new"), [(1, 1.0), (1, True), (0.0, -0.0), ("1", 1), (None, "null"), ([], {})])
    def test_another_type_is_another_version(self, manager, old, new):
        manager.save_config({"x": old}, "x")
        manager.save_config({"x": new}, "x")
        assert [repr(v.config) for v in manager.history("x")] == [repr({"x": old}), repr({"x": new})]

    def test_what_was_edited_by_hand_is_kept_even_where_it_is_broken(self, manager):
        by_hand(manager, "x", "lr: [1e-5\n")
        manager.save_config({"lr": 1}, "x")
        first, second = manager.history("x")
        assert (first.config, second.config) == (None, {"lr": 1})
        assert first.file.read_text() == "lr: [1e-5\n"
        with pytest.raises(StudyFileError, match=r":1: the list opened here"):
            manager.load_config("x", version=1)

    def test_a_version_that_is_not_there(self, manager):
        manager.save_config({"lr": 1}, "x")
        manager.save_config({"lr": 2}, "x")
        with pytest.raises(InputError, match=r"version: `x` has no version 7 .there is `1`, `2`"):
            manager.load_config("x", version=7)

    def test_what_is_deleted_can_be_brought_back(self, manager):
        manager.save_config({"lr": 1}, "x")
        manager.delete("x")
        assert manager.list_configs() == []
        for gone in (lambda: manager.load_config("x"), lambda: manager.delete("x")):
            with pytest.raises(
                InputError, match="it was deleted, and version=1 is what it was last; there is none yet"
            ):
                gone()
        manager.save_config(manager.load_config("x", version=1), "x")
        manager.save_config({"lr": 2}, "x")
        assert [(v.number, v.config) for v in manager.history("x")] == [(1, {"lr": 1}), (2, {"lr": 2})]

    def test_of_what_never_was(self, manager):
        with pytest.raises(InputError, match="there is no configuration `x`"):
            manager.history("x")

    def test_of_one_name_knows_nothing_of_another(self, manager):
        for name in ("x", "x.y", "x"):
            manager.save_config({"name": name, "n": len(manager.list_configs())}, name)
        assert len(manager.history("x")) == 2
        assert len(manager.history("x.y")) == 1


WRITERS = """
import sys
from rltune import HyperparameterManager
manager = HyperparameterManager(sys.argv[1])
print("ready", flush=True)
n = 0
while n < int(sys.argv[3]):
    n += 1
    manager.save_config({"writer": sys.argv[2], "n": n, "filler": list(range(50))}, "x")
"""


def writer(folder: Path, name: str, n: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITERS, folder, name, str(n)], stdout=subprocess.PIPE)


class TestOtherProcesses:
    def test_a_writer_that_is_killed_leaves_whole_files(self, manager):
        process = writer(manager.config_dir, "a", 10**9)
        assert process.stdout is not None
        process.stdout.readline()
        while not manager.list_configs() or len(manager.history("x")) < 20:
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        versions = [v.config["n"] for v in manager.history("x") if v.config is not None]
        assert len(versions) == len(manager.history("x"))  # each can be read
        assert versions == sorted(versions)
        manager.save_config({"n": 0}, "x")  # the lock went with its process
        assert manager.load_config("x") == {"n": 0}

    def test_two_writers_lose_nothing(self, manager):
        processes = [writer(manager.config_dir, name, 10) for name in "ab"]
        assert [process.communicate() and process.returncode for process in processes] == [0, 0]
        seen = sorted((v.config["writer"], v.config["n"]) for v in manager.history("x") if v.config is not None)
        assert seen == [(name, n) for name in "ab" for n in range(1, 11)]


BY_HAND = """\
# GRPO on one node
policy:            # what is trained
    lr: 1e-5       # the rate
    betas:
      - 0.9        # first
      - 0.95
    name: adam

# sizes
batch: {size: 64, micro: 0x4}   # in samples
day: 2024-01-01
note: |
  two
  lines

# below the note
nothing:   # to be filled
stages:
- lr: 1_000.5
  steps: 10
- lr: 2
# the end
"""


def changed_lines(before: str, after: str) -> list[str]:
    old = before.splitlines()
    return [line for line in after.splitlines() if line not in old]


class TestEdit:
    @pytest.mark.parametrize(
        ("changes", "lines"),
        [
            ({"policy.lr": 2e-5}, ["    lr: 2.0e-05       # the rate"]),
            ({"policy": {"lr": 2e-5}}, ["    lr: 2.0e-05       # the rate"]),
            ({"policy.betas.0": 0.8}, ["      - 0.8        # first"]),
            ({"batch.size": 32}, ["batch: {size: 32, micro: 0x4}   # in samples"]),
            ({"batch.new": "on"}, ['batch: {size: 64, micro: 0x4, new: "on"}   # in samples']),
            ({"nothing": [1, 2.0]}, ["nothing: [1, 2.0]   # to be filled"]),
            ({"nothing.a.b": None}, ["nothing: {a: {b: null}}   # to be filled"]),
            ({"policy.wd": 0.1}, ["    wd: 0.1"]),
            ({"policy.opt": {"a": {}, "b": "x y"}}, ['    opt: {a: {}, b: "x y"}']),
            ({"stages.0.steps": 20}, ["  steps: 20"]),
            ({"stages.1.steps": 20}, ["  steps: 20"]),
            ({"stages.1": None}, ["- null"]),
            ({"top": math.inf}, ["top: .inf"]),
            ({7: "seven"}, ["7: seven"]),
            ({"policy": {"betas": [1, 2]}}, ["    betas: [1, 2]"]),
            (
                {"policy.lr": 1, "batch": {"size": 1}},
                ["    lr: 1       # the rate", "batch: {size: 1, micro: 0x4}   # in samples"],
            ),
        ],
    )
    def test_only_the_lines_of_the_change_differ(self, manager, changes, lines):
        file = by_hand(manager, "x", BY_HAND)
        before = manager.load_config("x")
        manager.edit_config("x", changes)
        assert changed_lines(BY_HAND, file.read_text()) == lines
        assert manager.diff(before, "x")
        assert manager.load_config("x", version=1) == before

    def test_comments_below_a_block_that_is_replaced_stay(self, manager):
        file = by_hand(manager, "x", BY_HAND)
        manager.edit_config("x", {"policy": 1, "note": "short", "stages": []})
        assert file.read_text() == (
            "# GRPO on one node\npolicy: 1            # what is trained\n\n# sizes\n"
            "batch: {size: 64, micro: 0x4}   # in samples\nday: 2024-01-01\nnote: short\n\n# below the note\n"
            "nothing:   # to be filled\nstages: []\n# the end\n"
        )

    def test_a_new_key_stands_above_the_comment_of_the_next(self, manager):
        file = by_hand(manager, "x", BY_HAND)
        manager.edit_config("x", {"policy.wd": 0.1})
        assert "    name: adam\n    wd: 0.1\n\n# sizes\n" in file.read_text()

    @pytest.mark.parametrize(
        ("text", "changes", "after"),
        [
            ("{}\n", {"a.b": 1}, "{a: {b: 1}}\n"),
            ("a: {}  # c", {"a.b": 1, "a.c": 2}, "a: {b: 1, c: 2}  # c"),
            ("a.b: 1\na: {b: 2}\n", {"a.b": 3}, "a.b: 3\na: {b: 2}\n"),
            ("a: 1", {"b": 2}, "a: 1\nb: 2"),
            ("a: 1\r\nb: 2\r\n", {"a": 3}, "a: 3\r\nb: 2\r\n"),
            ("\ufeffa: 1\n", {"a": 3}, "a: 3\n"),
            ("---\na: 1\n...\n", {"a": 3, "b": 1}, "---\na: 3\nb: 1\n...\n"),
            ("a: 'it''s' # it's\n", {"a": "it"}, "a: it # it's\n"),
            ("a:\n  # why\n  b: 1\n", {"a": 2}, "a: 2\n  # why\n"),
            ("a: 'x: #y'\n😀: 1 # ü\n", {"😀": 2}, "a: 'x: #y'\n😀: 2 # ü\n"),
            ("1: a\n007: b\n", {7: "c"}, "1: a\n007: c\n"),
            ("a:\n  ?   long\n  : 1\n", {"a.b": 2, "a.long": 3}, "a:\n  ?   long\n  : 3\n  b: 2\n"),
            ("base: &b {x: 1}\nmine:\n  <<: *b\n", {"mine.x": 2}, "base: &b {x: 1}\nmine:\n  <<: *b\n  x: 2\n"),
            ("base: &b {x: 1}\nmine: *b  # same\n", {"mine": 2}, "base: &b {x: 1}\nmine: 2  # same\n"),
            ("l:\n- &b {x: 1}\n- *b\n", {"l.1": 2, "z": 3}, "l:\n- &b {x: 1}\n- 2\nz: 3\n"),
        ],
    )
    def test_files_of_every_form(self, manager, text, changes, after):
        file = by_hand(manager, "x", text)
        manager.edit_config("x", changes)
        assert file.read_bytes().decode() == after

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"base.x": 2}, r"base\.x: cannot be changed by itself: the file would differ in mine\.x: 1 -> 2"),
            ({"also.x": 2}, r"also\.x: cannot be changed by itself: the file would differ in base\.x: 1 -> 2"),
            ({"base": 2}, r"base: cannot be changed by itself: .*anchor"),
            ({"n.x": 2}, r"n: `n\.x` leads through this value, which is 5 .set it as a whole"),
            ({"l.3": 2}, r"l: '3' is no index of a list of 2 items .set the list as a whole"),
            ({"l.-1": 2}, "is no index"),
            ({"n..x": 2}, "leads through"),
            ({"base..y": 2}, "has nothing between two dots"),
            ({"n": {1, 2}}, r"n: a set cannot be saved"),
            ({"m": 1, "n.x": 2}, "leads through"),
        ],
    )
    def test_a_change_that_is_not_clean_changes_nothing(self, manager, changes, message):
        text = "base: &b {x: 1}\nmine:\n  <<: *b\nalso: *b\nn: 5\nl: [1, 2]\n"
        file = by_hand(manager, "x", text)
        with pytest.raises(InputError, match=message):
            manager.edit_config("x", changes)
        assert file.read_text() == text
        assert len(manager.history("x")) == 1

    @few
    @given(configs, st.data())
    def test_any_value_anywhere(self, config, data):
        name = data.draw(st.sampled_from(["new", *config]))
        value = data.draw(scalars | st.lists(scalars, max_size=3))
        with tempfile.TemporaryDirectory() as folder:
            manager = HyperparameterManager(folder)
            manager.save_config(config, "x")
            manager.edit_config("x", {name: value})
            assert not manager.diff({**config, name: value}, "x")

    @few
    @given(
        st.lists(
            st.sampled_from(["policy.lr", "policy.betas.1", "batch.size", "day", "note", "nothing", "stages.0.lr"])
        ),
        scalars,
    )
    def test_every_comment_survives(self, names, value):
        with tempfile.TemporaryDirectory() as folder:
            manager = HyperparameterManager(folder)
            file = by_hand(manager, "x", BY_HAND)
            manager.edit_config("x", dict.fromkeys(names, value))
            comments = [line.partition("# ")[2] for line in BY_HAND.splitlines() if "# " in line]
            assert [c for c in comments if f"# {c}" not in file.read_text()] == []


class TestDiff:
    def test_says_what_changed_in_lines(self, manager):
        manager.save_config({"policy": {"lr": 1e-5, "old": "x"}, "betas": [0.9, 0.95], "n": 1}, "a")
        manager.save_config({"betas": [0.9, 0.99], "policy": {"lr": 1e-4, "new": None}, "n": 1}, "b")
        diff = manager.diff("a", "b")
        assert str(diff) == (
            "policy.lr: 1.0e-05 -> 0.0001\n"
            "policy.old: x -> absent\n"
            "betas: [0.9, 0.95] -> [0.9, 0.99]\n"
            "policy.new: absent -> null"
        )
        assert [(c.key, c.before, c.after, c.kind) for c in diff] == [
            ("policy.lr", 1e-5, 1e-4, "changed"),
            ("policy.old", "x", None, "removed"),
            ("betas", [0.9, 0.95], [0.9, 0.99], "changed"),
            ("policy.new", None, None, "added"),
        ]

    def test_takes_configurations_as_well_as_names(self, manager):
        manager.save_config({"lr": 1}, "a")
        manager.save_config({"lr": 2}, "a")
        assert str(manager.diff(manager.load_config("a", version=1), "a")) == "lr: 1 -> 2"
        assert str(manager.diff("a", {"lr": np.int64(2)})) == "no difference"

    @few
    @given(configs, configs)
    def test_is_empty_between_equals_and_turns_around(self, a, b):
        with tempfile.TemporaryDirectory() as folder:
            manager = HyperparameterManager(folder)
            assert not manager.diff(a, a)
            there, back = manager.diff(a, b), manager.diff(b, a)
            assert sorted(repr((c.key, c.before, c.after)) for c in there) == sorted(
                repr((c.key, c.after, c.before)) for c in back
            )
