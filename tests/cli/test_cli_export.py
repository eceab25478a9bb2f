"""`export`: types survive in Parquet, and the configuration to ship comes as a trainer takes it."""

from __future__ import annotations

import json
import sys

import pytest
from ruamel.yaml import YAML

STUDY = """\
name: typed
n_trials: 12
trainer: {function: "job:train", config: {wait: 0, batch: 4}}
search_space:
  lr: {type: float, min: 0.01, max: 0.95, log: true}
  batch: {type: int, min: 2, max: 8}
  flag: {type: categorical, choices: [true, false]}
  size: {type: categorical, choices: [8, 16]}
  kind: {type: categorical, choices: [a, b]}
  mixed: {type: categorical, choices: [null, 1, auto]}
  maybe: {type: categorical, choices: [null, 0.5]}
  decay: {type: categorical, choices: [0, 0.01, 0.1]}
  momentum: {type: float, min: 0.5, max: 0.9, when: "kind == 'a'"}
  seed: {type: int, min: 1, max: 3}
evaluation: {metric: score, direction: maximize}
executor: inline
algorithm: random
"""


@pytest.fixture
def done(rltune, job):
    (job / "study.yaml").write_text(STUDY)
    assert rltune("run", "study.yaml").code == 0
    return job


@pytest.fixture
def table(rltune, done):
    parquet = pytest.importorskip("pyarrow.parquet")
    written = rltune("export", "-f", "parquet", "-o", "trials.parquet")
    assert (written.code, written.out) == (0, "wrote trials.parquet\n")
    return parquet.read_table(done / "trials.parquet")


def test_columns_keep_their_types(table):
    types = {field.name: str(field.type) for field in table.schema}
    words = "dictionary<values=string, indices=int32, ordered=0>"
    wanted = {
        "number": "int64",
        "feasible": "bool",
        "seconds": "double",
        "score": "double",
        "lr": "double",
        "batch": "int64",
        "flag": "bool",
        "size": "int64",
        "kind": words,
        "mixed": words,
        "maybe": "double",
        "decay": "double",
        "momentum": "double",
        "param.seed": "int64",
        "seed": "int64",
    }
    assert {name: types[name] for name in wanted} == wanted


def test_every_value_is_the_trials_own(rltune, table):
    rows, trials = table.to_pylist(), rltune("export", "-f", "json").json
    assert [row["number"] for row in rows] == [trial["number"] for trial in trials]
    for row, trial in zip(rows, trials, strict=True):
        params = trial["params"]
        for name in ("lr", "batch", "flag", "size", "kind", "maybe"):
            assert row[name] == params[name]
            assert type(row[name]) is type(params[name])
        assert json.loads(row["mixed"]) == params["mixed"]
        assert row["decay"] == params["decay"]
        assert row["momentum"] == params.get("momentum")
        assert row["param.seed"] == params["seed"]
        assert row["seed"] == trial["seed"]
        assert row["score"] == (trial["values"] or [None])[0]
    assert any(row["momentum"] is None for row in rows)
    assert any(row["mixed"] == "null" for row in rows)


def test_a_column_says_how_it_was_searched(table):
    assert json.loads(table.schema.field("lr").metadata[b"rltune"]) == {
        "type": "float", "min": 0.01, "max": 0.95, "log": True,
    }  # fmt: skip


def test_the_configuration_to_ship_is_the_file_of_the_session(rltune, done):
    read = YAML(typ="safe", pure=True).load
    shown = rltune("export", "-f", "config")
    assert read(shown.out) == read((done / "runs/typed/best_config.yaml").read_text())
    assert read(shown.out)["wait"] == 0


def test_overrides_stand_one_on_a_line(rltune, done):
    assert rltune("export", "-f", "overrides").out == (done / "runs/typed/best_overrides.txt").read_text()


def test_there_is_nothing_to_ship(rltune, job):
    rltune("run", "study.yaml", "--set", "trainer.function=job:broken", "--set", "max_failures_in_a_row=2")
    shown = rltune("export", "-f", "overrides")
    assert (shown.code, shown.out) == (3, "")
    assert "no trial is feasible" in shown.err


def test_a_folder_that_is_not_there(rltune, done):
    shown = rltune("export", "-f", "parquet", "-o", "nowhere/trials.parquet")
    assert shown.code == 2
    assert "nowhere/trials.parquet: No such file or directory" in shown.err


def test_without_pyarrow(rltune, done, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    shown = rltune("export", "-f", "parquet", "-o", "trials.parquet")
    assert shown.code == 2
    assert "pip install 'rltune[parquet]'" in shown.err
    assert not (done / "trials.parquet").exists()
