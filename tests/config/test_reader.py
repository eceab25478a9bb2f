from pathlib import Path

import pytest

from rltune.config import apply_overrides, read
from rltune.config.nodes import parse
from rltune.errors import StudyFileError


def refusal(path: Path) -> str:
    """The message of a file that cannot be read, with its name alone in front."""
    with pytest.raises(StudyFileError) as caught:
        read(path)
    return str(caught.value).replace(str(path), path.name)


class TestValues:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-5", 1e-5),
            ("1E5", 1e5),
            ("-1e+3", -1000.0),
            (".5", 0.5),
            (".inf", float("inf")),
            ("010", 10),
            ("0o10", 8),
            ("0x1F", 31),
            ("1_000", 1000),
            ("true", True),
            ("~", None),
            ("yes", "yes"),
            ("on", "on"),
            ("12:30:00", "12:30:00"),
            ("2026-01-01", "2026-01-01"),
            ("'1e-5'", "1e-5"),
            ("!!str 1", "1"),
            ("[1, {a: 2}]", [1, {"a": 2}]),
            ("|\n  two\n  lines\n", "two\nlines\n"),
        ],
    )
    def test_scalars_are_those_of_yaml_1_2_in_plain_types(self, text, value):
        parsed, _ = parse(text)
        assert parsed == value
        assert type(parsed) is type(value)

    def test_anchors_and_merges(self):
        parsed, mark = parse("base: &b {min: 0, max: 1}\nlr: {<<: *b, max: 2}\nwd: *b\n")
        assert parsed["lr"] == {"min": 0, "max": 2}
        assert parsed["wd"] == {"min": 0, "max": 1}
        assert mark.children["lr"].children["min"].line == 1
        assert mark.children["lr"].children["max"].line == 2


class TestLines:
    TEXT = "# a comment\n\nname: x\nsearch_space:\n  lr:\n    min: 1\nguards:\n  - a\n  - {name: b, k: 1}\n"

    @pytest.mark.parametrize(
        ("key", "line"),
        [
            (("name",), 3),
            (("search_space",), 4),
            (("search_space", "lr", "min"), 6),
            (("guards", 0), 8),
            (("guards", 1, "k"), 9),
            (("search_space", "lr", "max"), 5),
            (("nothing", "here"), 3),
        ],
    )
    def test_of_a_key_or_of_the_nearest_above(self, tmp_path, key, line):
        file = tmp_path / "s.yaml"
        file.write_text(self.TEXT)
        assert read(file).line(key) == line

    def test_the_root_key_may_be_left_out(self, tmp_path):
        file = tmp_path / "s.yaml"
        file.write_text("hyperparameter_optimization:\n  name: x\n  seed: 1\n")
        document = read(file)
        assert document.data == {"name": "x", "seed": 1}
        assert document.line(("seed",)) == 3

    def test_any_other_mapping_is_read_as_it_is(self, tmp_path):
        file = tmp_path / "c.yaml"
        file.write_text("hyperparameter_optimization: {a: 1}\npolicy: {lr: 1e-5}\n")
        assert read(file, root=None).data == {"hyperparameter_optimization": {"a": 1}, "policy": {"lr": 1e-5}}

    def test_windows_files_are_read_alike(self, tmp_path):
        file = tmp_path / "s.yaml"
        file.write_bytes(b"\xef\xbb\xbfname: x\r\nseed: 1\r\n")
        assert read(file).data == {"name": "x", "seed": 1}
        assert read(file).line(("seed",)) == 2


WRONG_TEXTS = {
    "duplicate key": (
        "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n",
        "s.yaml:5: b.c: stands twice in one mapping: on line 3 and on line 5 (keep one of them)",
    ),
    "duplicate key below the root": (
        "hyperparameter_optimization:\n  b: {c: 1}\n  b: {}\n",
        "s.yaml:3: b: stands twice in one mapping: on line 2 and on line 3 (keep one of them)",
    ),
    "two duplicate keys": (
        "a: 1\na: 2\nb: {c: 1, c: 2}\n",
        (
            "s.yaml:2: a: stands twice in one mapping: on line 1 and on line 2 (keep one of them)\n"
            "s.yaml:3: b.c: stands twice in one mapping: on line 3 and on line 3 (keep one of them)"
        ),
    ),
    "tab": ("a:\n\tb: 1\n", "s.yaml:2: a tab is used as indentation (YAML takes spaces only: replace the tab)"),
    "tab after spaces": (
        "a:\n  c: 1\n\tb: 1\n",
        "s.yaml:3: a tab is used as indentation (YAML takes spaces only: replace the tab)",
    ),
    "open list": (
        "a: 1\nb: [1, 2\nc: 3\n",
        "s.yaml:2: the list opened here with `[` is not closed (add the `]`, and commas between the items)",
    ),
    "open mapping": (
        "a: {x: 1\n",
        "s.yaml:1: the mapping opened here with `{` is not closed (add the `}`, and commas between the keys)",
    ),
    "open quote": ("a: 'x\nb: 1\n", "s.yaml:1: the quote opened here is not closed (add the closing quote)"),
    "indented too far": (
        "a:\n  b: 1\n   c: 2\n",
        (
            "s.yaml:3: the colon in `c: 2` cannot stand there (indent the keys of one mapping alike, "
            "write a space after each colon, and quote text that holds a colon and a space)"
        ),
    ),
    "indented too little": (
        "a:\n  b: 1\n c: 2\n",
        "s.yaml:3: `c: 2` is indented differently from the keys before it (indent the keys of one mapping alike)",
    ),
    "no colon": ("a: 1\nfoo\nb: 2\n", "s.yaml:2: `foo` has no colon (write `key: value`)"),
    "reserved character": ("a: @x\n", "s.yaml:1: text cannot begin with @ (put it in quotes)"),
    "unknown anchor": (
        "a: *x\n",
        "s.yaml:1: `*x` refers to an anchor that is not defined (write `&x` before its value)",
    ),
    "anchor in itself": (
        "a: &x [*x]\n",
        "s.yaml:1: a.0: refers to itself (an anchor cannot be used inside its own value)",
    ),
    "second document": (
        "a: 1\n---\nb: 2\n",
        "s.yaml:2: a second document begins here (keep one study in a file: remove the `---`)",
    ),
    "tag": (
        "a: 1\nb: !!set {x}\n",
        "s.yaml:2: b: carries the tag tag:yaml.org,2002:set (tags are not used here: remove it)",
    ),
    "python tag": (
        "a: !!python/object/apply:os.system [ls]\n",
        (
            "s.yaml:1: a: carries the tag tag:yaml.org,2002:python/object/apply:os.system "
            "(tags are not used here: remove it)"
        ),
    ),
    "wrong core tag": ("a: !!int x\n", "s.yaml:1: a: `x` is no int, as its tag says (remove the tag)"),
    "key that is no text": (
        "a: 1\ntrue: 2\n",
        "s.yaml:2: true stands where a key must (a key is text: put it in quotes)",
    ),
    "merge of no mapping": (
        "a:\n  <<: 3\n",
        "s.yaml:2: a.<<: merges 3 (`<<` takes a mapping or a list of them)",
    ),
    "control character": ("a: 1\nb: \x01\n", "s.yaml:2: holds the control character 0x01 (remove it)"),
    "yaml 1.1": (
        "%YAML 1.1\n---\na: on\n",
        (
            "s.yaml:1: asks for YAML 1.1, where `1e-5` and `on` mean something else "
            "(remove the line that begins with `%YAML`)"
        ),
    ),
    "empty": ("\n# nothing\n", "s.yaml: is empty (`rltune init` writes a study file to begin with)"),
    "list": ("\n- a\n- b\n", "s.yaml:2: holds a list, not keys with values (write `key: value` lines)"),
    "text": ("hello\n", "s.yaml:1: holds the text 'hello', not keys with values (write `key: value` lines)"),
    "root without content": (
        "hyperparameter_optimization:\nname: x\n",
        "s.yaml:2: name: stands beside `hyperparameter_optimization` (indent it under `hyperparameter_optimization`)",
    ),
    "root with a value": (
        "hyperparameter_optimization: 3\n",
        "s.yaml:1: hyperparameter_optimization: holds 3, not keys with values (indent the study under it)",
    ),
    "misspelt root": (
        "hyperparameter_optimisation:\n  name: x\n",
        "s.yaml:1: hyperparameter_optimisation: unknown key (did you mean `hyperparameter_optimization`?)",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_texts_that_cannot_be_read(tmp_path, text, message):
    file = tmp_path / "s.yaml"
    file.write_text(text)
    assert refusal(file) == message


def test_deep_nesting_is_refused_not_a_crash(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("a: " + "[" * 500 + "]" * 500)
    assert refusal(file) == "s.yaml: is nested too deeply"


def test_many_aliases_cost_nothing():
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30))
    parsed, _ = parse(f"l0: &l0 [1]\n{levels}\n")
    assert len(parsed["l29"]) == 10


class TestFiles:
    def test_a_missing_file_names_the_nearest(self, tmp_path):
        (tmp_path / "study.yaml").write_text("a: 1")
        (tmp_path / "notes.txt").write_text("")
        assert refusal(tmp_path / "stdy.yaml") == "stdy.yaml: does not exist (did you mean study.yaml?)"

    def test_or_the_yaml_files_there(self, tmp_path):
        (tmp_path / "b.yaml").write_text("a: 1")
        (tmp_path / "a.yml").write_text("a: 1")
        assert refusal(tmp_path / "something-else") == "something-else: does not exist (there is a.yml, b.yaml)"

    def test_or_says_that_there_is_none(self, tmp_path):
        message = "s.yaml: does not exist (its folder holds no YAML file; `rltune init` writes one)"
        assert refusal(tmp_path / "s.yaml") == message

    def test_a_missing_folder(self, tmp_path):
        folder = tmp_path / "nowhere"
        assert refusal(folder / "s.yaml") == f"s.yaml: does not exist (the folder {folder} does not exist either)"

    def test_a_folder(self, tmp_path):
        (tmp_path / "s.yaml").write_text("a: 1")
        assert refusal(tmp_path) == f"{tmp_path.name}: is a folder (there is s.yaml)"

    def test_bytes_that_are_no_utf_8(self, tmp_path):
        file = tmp_path / "s.yaml"
        file.write_bytes("name: x\nout: caf\u00e9\n".encode("latin-1"))
        assert refusal(file) == "s.yaml:2: is not UTF-8 text: byte 0xe9 (save the file as UTF-8)"


class TestOverrides:
    @pytest.fixture
    def document(self, tmp_path):
        file = tmp_path / "s.yaml"
        file.write_text(
            "seed: 1\n"
            "trainer: {command: [python, train.py], metrics: {stdout: json}, horizon: 3}\n"
            "search_space:\n"
            "  policy.optimizer.kwargs.lr: {type: float, min: 1e-5, max: 1e-3}\n"
            "  policy: {type: int, min: 1, max: 2}\n"
            "evaluation: {metric: loss}\n"
        )
        return read(file)

    @pytest.mark.parametrize(
        ("override", "key", "value"),
        [
            ("seed=3", ["seed"], 3),
            ("executor.workers=4", ["executor", "workers"], 4),
            ("evaluation.patience= 5 ", ["evaluation", "patience"], 5),
            ("evaluation.metric=a=b", ["evaluation", "metric"], "a=b"),
            ("name=", ["name"], None),
            ("name='1'", ["name"], "1"),
            ("name=a: b", ["name"], "a: b"),
            ("name=- a", ["name"], "- a"),
            ("trainer.command=[a, {config}]", ["trainer", "command"], ["a", {"config": None}]),
            ("search_space.policy.max=3", ["search_space", "policy", "max"], 3),
            (
                "search_space.policy.optimizer.kwargs.lr.max=1e-2",
                ["search_space", "policy.optimizer.kwargs.lr", "max"],
                1e-2,
            ),
            ("search_space.loss.clip.max=1e-2", ["search_space", "loss.clip", "max"], 1e-2),
            ("search_space.loss.clip={min: 0, max: 1}", ["search_space", "loss.clip"], {"min": 0, "max": 1}),
            ("search_space.loss.clip.choices=[1, 2]", ["search_space", "loss.clip", "choices"], [1, 2]),
            ("search_space.loss.clip=[int, 1, 2]", ["search_space", "loss.clip"], ["int", 1, 2]),
            ("derived.a.b=c * 2", ["derived", "a.b"], "c * 2"),
            ("evaluation.constraints.kl.max=1", ["evaluation", "constraints", "kl", "max"], 1),
        ],
    )
    def test_they_set_one_key(self, document, override, key, value):
        here = apply_overrides(document, [override]).data
        for part in key:
            here = here[part]
        assert here == value

    def test_the_document_given_stays_as_it_is(self, document):
        before = str(document.data)
        apply_overrides(document, ["search_space.policy.max=3", "evaluation.direction=minimize"])
        assert str(document.data) == before

    def test_aliased_values_are_changed_alone(self, tmp_path):
        file = tmp_path / "s.yaml"
        file.write_text("search_space: {a: &a {min: 0}, b: *a}\n")
        changed = apply_overrides(read(file), ["search_space.a.min=1"])
        assert changed.data["search_space"] == {"a": {"min": 1}, "b": {"min": 0}}

    def test_later_ones_win(self, document):
        assert apply_overrides(document, ["seed=2", "seed=3"]).data["seed"] == 3

    def test_another_kind_of_trainer_replaces_the_one_in_the_file(self, document):
        changed = apply_overrides(document, ["trainer.function=job:train"])
        assert changed.data["trainer"] == {"function": "job:train", "horizon": 3}
        back = apply_overrides(changed, ["trainer.command=[python, x.py]"])
        assert back.data["trainer"] == {"command": ["python", "x.py"], "horizon": 3}

    def test_the_same_kind_keeps_the_rest(self, document):
        changed = apply_overrides(document, ["trainer.command=[a]"])
        assert changed.data["trainer"]["metrics"] == {"stdout": "json"}

    def test_what_they_set_has_no_line(self, document):
        changed = apply_overrides(document, ["search_space.policy.max=3"])
        assert changed.line(("search_space", "policy", "max")) is None
        assert changed.line(("search_space", "policy", "min")) == 5

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("seed", "--set seed is not of the form key=value (as in --set executor.workers=4)"),
            ("=3", "--set =3 is not of the form key=value (as in --set executor.workers=4)"),
            ("a..b=3", "--set a..b=3 is not of the form key=value (as in --set executor.workers=4)"),
            ("seed.x=3", "seed: --set seed.x=3 leads through seed, which is 1 (set seed as a whole)"),
            (
                "trainer.command.0=3",
                (
                    "trainer.command: --set trainer.command.0=3 leads through trainer.command, which is a list "
                    "(set trainer.command as a whole)"
                ),
            ),
            (
                "name=[1, 2",
                (
                    "--set name=[1, 2 has a value that is not YAML: the list opened here with `[` is not closed "
                    "(add the `]`, and commas between the items)"
                ),
            ),
            ("name=@x", "--set name=@x has a value that is not YAML: text cannot begin with @ (put it in quotes)"),
        ],
    )
    def test_wrong_ones(self, document, override, message):
        with pytest.raises(StudyFileError) as caught:
            apply_overrides(document, [override])
        assert "\n".join(str(problem) for problem in caught.value.problems) == message

    def test_all_wrong_ones_at_once(self, document):
        with pytest.raises(StudyFileError) as caught:
            apply_overrides(document, ["seed", "seed.x=1", "seed=5"])
        assert len(caught.value.problems) == 2
