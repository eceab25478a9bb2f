"""What TensorBoard itself reads back."""

import math

import pytest

from trackers import spies
from trackers.spies import much_patience  # noqa: F401

pytest.importorskip("tensorboard", reason="needs pip install 'rltune[tensorboard]'")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2


def read(folder):
    seen = EventAccumulator(str(folder))
    seen.Reload()
    return seen


def hparams(seen, tag):
    return plugin_data_pb2.HParamsPluginData.FromString(seen.PluginTagToContent("hparams")[tag])


def scalars(seen, tag):
    return [(event.step, pytest.approx(event.value, rel=1e-6)) for event in seen.Scalars(tag)]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return spies.study(tmp_path_factory.mktemp("study"), "tensorboard", n_trials=12)


def test_each_trial_is_a_run_with_its_curves_at_their_time(result):
    runs = sorted(path.name for path in (result.folder.path / "tensorboard").iterdir() if path.is_dir())
    assert runs == [f"{record.number:04d}" for record in result.records]
    for record in result.records:
        seen = read(result.folder.path / "tensorboard" / f"{record.number:04d}")
        reported = result.folder.trial(record.number).read_metrics()
        for name in ("loss", "entropy") if reported else ():
            assert scalars(seen, name) == [(m.step, m.metrics[name]) for m in reported]
        (cost,) = seen.Scalars("training_time")
        assert cost.value == pytest.approx(record.metrics["training_time"])
        assert math.isclose(cost.wall_time, record.started.timestamp(), abs_tol=60)


def test_the_tab_hparams_has_parameters_metrics_and_how_each_trial_ended(result):
    folder = result.folder.path / "tensorboard"
    experiment = hparams(read(folder), metadata.EXPERIMENT_TAG).experiment
    assert [info.name for info in experiment.hparam_infos] == ["lr", "optimizer"]
    assert [info.name.tag for info in experiment.metric_infos] == ["loss"]
    assert {record.cause for record in result.records} == {None, "error"}, "the study shows too little"
    for record in result.records:
        seen = read(folder / f"{record.number:04d}")
        given = hparams(seen, metadata.SESSION_START_INFO_TAG).session_start_info.hparams
        assert given["lr"].number_value == record.params["lr"]
        assert given["optimizer"].string_value == record.params["optimizer"]
        status = hparams(seen, metadata.SESSION_END_INFO_TAG).session_end_info.status
        assert status == (api_pb2.STATUS_SUCCESS if record.cause is None else api_pb2.STATUS_FAILURE)


def test_a_folder_of_ones_own_holds_several_studies_and_a_second_session_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = {"tensorboard": {"logdir": "logs"}}
    spies.study("runs/a", mine, n_trials=2)
    spies.study("runs/b", mine, n_trials=2)
    spies.study("runs/a", mine, n_trials=3)
    one, other = sorted((tmp_path / "logs").iterdir(), key=lambda path: len(list(path.iterdir())), reverse=True)
    assert sorted(path.name for path in one.iterdir() if path.is_dir()) == ["0000", "0001", "0002"]
    assert sorted(path.name for path in other.iterdir() if path.is_dir()) == ["0000", "0001"]
    assert len(read(one / "0000").Scalars("training_time")) == 1
    assert len(list(one.glob("events.*"))) == 1
