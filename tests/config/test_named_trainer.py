"""Trainers by name: from the study file to trials in processes of their own, and every way of getting it wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rltune import session
from rltune.config import from_mapping, invalidating, load
from rltune.errors import StudyFileError, TrainerError

MODULE = """\
import threading

from rltune.errors import InputError, Problem
from rltune.trainers.context import report as tell
from rltune.types import Measurement


class Bandit:
    def __init__(self, base_config, episodes: int = 3, label: str | None = None):
        self.episodes, self.bonus = episodes, base_config.get("bonus", 0.0)
        self.lock = threading.Lock()  # which cannot be pickled
        self.loads = 0

    def load(self):
        self.loads += 1

    def __call__(self, suggestion, report):
        with self.lock:
            for step in range(1, self.episodes + 1):
                tell(step, reward=suggestion.params["lr"] * step)
        return {"reward": suggestion.params["lr"] + self.bonus, "loads": self.loads}


class Plain:
    def __call__(self, suggestion, report):
        report(Measurement(1, {"reward": suggestion.params["lr"]}))


class Particular(Plain):
    def config(self, params):
        return {"all": dict(params)}

    def check(self, parameters, needs_folds):
        wanted = [Problem(("search_space",), "must have `depth`")] if "depth" not in parameters else []
        return wanted + ([Problem(("evaluation", "cross_validation"), "is too much")] if needs_folds else [])


class Refusing(Plain):
    def __init__(self, size=1):
        raise InputError([Problem(("size",), f"must be even, got {size}")])


class Broken(Plain):
    def __init__(self):
        raise KeyError("checkpoint")


class BrokenLoad(Plain):
    def load(self):
        raise OSError("no such model")


class BrokenCheck(Plain):
    def check(self, parameters, needs_folds):
        raise RuntimeError("out of order")


class StrangeCheck(Plain):
    def check(self, parameters, needs_folds):
        return ["it is bad"]


class Silent:
    pass


class Narrow:
    def __call__(self, suggestion):
        pass


class Later:
    async def __call__(self, suggestion, report):
        pass


def train(config):
    return 0.0
"""

STUDY = """\
trainer:
  name: bandits:Bandit
  config: {bonus: 0.5, deep: {er: 1}}
  episodes: 2
search_space:
  lr: {type: float, min: 0.1, max: 1.0, default: 0.2}
evaluation: {metric: reward, direction: maximize}
protocol: simple
algorithm: random
n_trials: 2
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Writes a study beside its module, in a folder that is not on Python's path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "the study"
    folder.mkdir()
    (folder / "bandits.py").write_text(MODULE)

    def write(trainer: str | None = None) -> Path:
        text = STUDY
        if trainer is not None:
            text = f"trainer: {trainer}\n" + STUDY[STUDY.index("search_space") :]
        (folder / "study.yaml").write_text(text)
        return folder / "study.yaml"

    return write


def prepared(file, overrides=()):
    config = load(file, overrides)
    return session.prepare(config, session.study_dir(config, file.parent / "run"))


def refusal(file, overrides=()):
    with pytest.raises(StudyFileError) as caught:
        prepared(file, overrides)
    return str(caught.value).replace(str(file), "study.yaml").replace(f"{file.parent}/", "")


class TestTheStudyFile:
    def test_other_keys_are_options(self, study):
        trainer = load(study("{name: a:B, config: {lr: 1}, horizon: 10, env: Ant, cwd: 3, metrics: [x]}")).trainer
        assert (trainer.name, trainer.config, trainer.horizon) == ("a:B", {"lr": 1}, 10)
        assert trainer.options == {"env": "Ant", "cwd": 3, "metrics": ["x"]}

    def test_a_changed_option_makes_trials_incomparable(self, study):
        file = study()
        assert invalidating(load(file), load(file, ["trainer.episodes=4"])) == ["trainer.episodes: 2 -> 4"]

    @settings(max_examples=50, deadline=None)
    @given(
        st.dictionaries(
            st.text("abcdef", min_size=1).filter(lambda key: key not in ("name", "config", "horizon")),
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.lists(st.text(max_size=5)),
        )
    )
    def test_it_is_written_back_as_it_was(self, options):
        mapping = {
            "trainer": {"name": "a:B", **options, "config": {"x": None}},
            "search_space": {"lr": {"type": "float", "min": 0, "max": 1}},
            "evaluation": {"metric": "m", "direction": "minimize"},
        }
        written = from_mapping(mapping).to_yaml()
        again = from_mapping(YAML(typ="safe", pure=True).load(written))
        assert again.trainer.options == options
        assert again.to_yaml() == written


class TestRefused:
    @pytest.mark.parametrize(
        ("trainer", "said"),
        [
            ("{name: bandit}", "trainer.name: there is no trainer `bandit` (no installed package offers one"),
            ("{name: 3}", "trainer.name: must be text, got 3"),
            ("{name: bandits.py:Plain}", "trainer.name: must name a module, not a file"),
            ("{name: 'bandits:'}", "trainer.name: must be module:Class, got the text 'bandits:'"),
            ("{name: 'bandits:Plain', command: [a]}", "trainer.name: stands beside command"),
            ("{name: 'bandits:Plain', function: 'bandits:train'}", "trainer.name: stands beside function"),
            ("{name: 'bandid:Plain'}", "trainer.name: there is no module `bandid` in"),
            ("{name: 'bandits:Plane'}", 'trainer.name: "bandits:Plane": `bandits` has no `Plane`; it has'),
            (
                "{name: 'bandits:train'}",
                "is a function, and a trainer by name is a class (write function: bandits:train)",
            ),
            ("{name: 'bandits:Bandit', episode: 2}", "trainer.episode: unknown option (did you mean `episodes`?"),
            ("{name: 'bandits:Bandit', episodes: few}", "trainer.episodes: must be a whole number, got the text 'few'"),
            ("{name: 'bandits:Bandit', base_config: {}}", "trainer.base_config: is set by the study"),
            ("{name: 'bandits:Plain', size: 3}", "trainer.size: unknown option (`bandits:Plain` takes no options)"),
            ("{name: 'bandits:Refusing', size: 3}", "trainer.size: must be even, got 3"),
            (
                "{name: 'bandits:Broken'}",
                "`bandits:Broken` failed when it was made: KeyError: 'checkpoint' (bandits.py:4",
            ),
            ("{name: 'bandits:Silent'}", "`bandits:Silent` cannot be called (write __call__(self, suggestion, report)"),
            ("{name: 'bandits:Narrow'}", "is called with a suggestion and a report, but takes (suggestion)"),
            ("{name: 'bandits:Later'}", "has a __call__ that is async or a generator"),
            ("{name: 'bandits:Particular'}", "study.yaml:2: search_space: must have `depth`"),
            ("{name: 'bandits:BrokenCheck'}", "`bandits:BrokenCheck` failed in check(): RuntimeError: out of order"),
            ("{name: 'bandits:StrangeCheck'}", "must return Problems, got 'it is bad'"),
        ],
    )
    def test_in_words(self, study, trainer, said):
        text = refusal(study(trainer))
        assert said in text
        assert text.startswith("study.yaml:")

    def test_with_the_line_of_the_option(self, study):
        file = study()
        file.write_text(file.read_text().replace("episodes: 2", "episodes: 2.5"))
        assert refusal(file) == "study.yaml:4: trainer.episodes: must be a whole number, got 2.5"

    def test_together_with_what_else_is_wrong(self, study):
        file = study("{name: 'bandits:Bandit', episode: 2}")
        file.write_text(file.read_text().replace("algorithm: random", "algorithm: {name: random, temperature: 1}"))
        lines = refusal(file).splitlines()
        assert ["trainer.episode" in lines[0], "algorithm.temperature" in lines[1]] == [True, True]

    def test_a_dotted_name_that_the_base_config_does_not_know(self, study):
        file = study()
        file.write_text(file.read_text().replace("  lr:", "  deep.est: {type: int, min: 1, max: 2}\n  lr:"))
        assert "search_space.deep.est: the base config has no such key" in refusal(file)


class TestItRuns:
    @pytest.mark.parametrize("warm", [True, False])
    def test_in_processes_of_their_own(self, study, warm):
        file = study()
        out = file.parent / "out"
        result = session.run(load(file, [f"executor.warm={str(warm).lower()}"]), out=out)
        records = result.records
        assert [r.state.name for r in records] == ["COMPLETE", "COMPLETE"], [r.message for r in records]
        for record in records:
            assert record.values == (record.params["lr"] + 0.5,)
            assert record.metrics["loads"] == 1
            assert [m.step for m in result.folder.trial(record.number).read_metrics()] == [1, 2]
            written = YAML(typ="safe").load(out / "trials" / f"{record.number:04d}" / "config.yaml")
            assert written == {"bonus": 0.5, "deep": {"er": 1}, "lr": record.params["lr"]}
        best = YAML(typ="safe").load(out / "best_config.yaml")
        assert best == {"bonus": 0.5, "deep": {"er": 1}, "lr": max(r.params["lr"] for r in records)}

    def test_the_study_in_the_folder_reads_back_and_goes_on(self, study):
        file = study()
        config = load(file, ["executor=inline"])
        session.run(config, out=file.parent / "out")
        assert session.read(file.parent / "out").config == config
        more = session.run(load(file, ["executor=inline", "n_trials=3"]), out=file.parent / "out")
        assert len(more.records) == 3

    def test_a_class_with_nothing_but_a_call(self, study):
        file = study("{name: 'bandits:Plain', config: {bonus: 1}}")
        result = session.run(load(file, ["executor=inline"]), out=file.parent / "out")
        assert [r.message for r in result.records] == ["", ""]
        assert [r.values for r in result.records] == [(r.params["lr"],) for r in result.records]
        assert result.folder.best_config.read_text().startswith("bonus: 1\nlr: ")

    def test_its_own_word_on_what_it_runs(self, study):
        file = study("{name: 'bandits:Particular'}")
        file.write_text(file.read_text().replace("  lr:", "  depth: {type: int, min: 1, max: 2}\n  lr:"))
        result = session.run(load(file, ["executor=inline"]), out=file.parent / "out")
        assert result.folder.best_config.read_text().startswith("all:\n  depth: ")

    def test_a_load_that_fails_ends_the_study_in_words(self, study):
        file = study("{name: 'bandits:BrokenLoad'}")
        with pytest.raises(TrainerError, match=r"`bandits:BrokenLoad` failed in load\(\): OSError: no such model"):
            session.run(load(file), out=file.parent / "out")
