"""What only a cluster has: several nodes, their loss, their lack of a shared folder, what fits on them."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray")

from optuna.trial import TrialState
from ray.cluster_utils import Cluster

from executors.ray_cluster import INHERITED, running_cluster
from rltune.errors import ExecutorError, FolderError, TrainerError
from rltune.executors.ray import RayExecutor
from rltune.testing.executor_suite import ScriptedBrain, processes_with, scripted_trainer
from rltune.types import Cause, Decision, Measurement, Report, Resources, Suggestion
from tuner_harness import make_tuner

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with two CPUs and one make-believe GPU each, the second with a licence."""
    with running_cluster(num_cpus=2, num_gpus=1) as cluster:
        cluster.add_node(num_cpus=2, num_gpus=1, resources={"licence": 2})
        yield cluster


def executor(cluster: Cluster, **options: Any) -> RayExecutor:
    return RayExecutor(address=cluster.address, **({"resources": Resources(grace_seconds=0.5)} | options))


def brain_of(path: Path, n: int, **params: Any) -> ScriptedBrain:
    return ScriptedBrain(path, [{"do": "return", **params}] * n)


class TestWhatFits:
    @pytest.mark.parametrize(
        ("per_trial", "nodes", "named"),
        [
            (
                {"CPU": 3},
                1,
                "needs 3 CPU, and no node of the cluster has it: 2 CPU + 1 GPU, 2 CPU + 1 GPU + 2 licence;",
            ),
            ({"CPU": 1, "GPU": 2}, 1, "needs 1 CPU + 2 GPU"),
            ({"CPU": 1, "licences": 1}, 1, "needs 1 CPU + 1 licences"),
            ({"CPU": 2}, 3, "needs 2 CPU for each of 3 nodes"),
        ],
    )
    def test_a_request_that_can_never_be_met_is_refused_at_once(
        self, cluster: Cluster, tmp_path: Path, per_trial: dict[str, float], nodes: int, named: str
    ) -> None:
        brain = brain_of(tmp_path, 1)
        with pytest.raises(ExecutorError) as error:
            executor(cluster, per_trial=per_trial, nodes=nodes).run(brain, scripted_trainer)
        assert named in str(error.value)
        assert "2 CPU + 1 GPU + 2 licence" in str(error.value)
        assert not brain.outcomes

    def test_as_many_run_at_once_as_there_is_room_for(self, cluster: Cluster, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "allocate", "bytes": 1, "seconds": 3}] * 4)
        executor(cluster, per_trial={"CPU": 1}).run(brain, scripted_trainer)
        assert brain.most_at_once == 4

    def test_resources_of_the_clusters_own_and_fractions_of_them(self, cluster: Cluster, tmp_path: Path) -> None:
        brain = ScriptedBrain(tmp_path, [{"do": "allocate", "bytes": 1, "seconds": 2}] * 4)
        executor(cluster, per_trial={"CPU": 0.25, "licence": 0.5}).run(brain, scripted_trainer)
        assert brain.most_at_once == 4
        assert all(outcome.cause is None for outcome in brain.outcomes.values())

    def test_no_cluster(self, tmp_path: Path) -> None:
        with pytest.raises(
            ExecutorError, match=r"no Ray cluster to join at `executor.address: 127.0.0.1:1`.*ray start"
        ):
            RayExecutor(address="127.0.0.1:1").run(brain_of(tmp_path, 1), scripted_trainer)


def tell_surroundings(suggestion: Suggestion, report: Report) -> Mapping[str, float] | None:
    """Writes down what the trial's process inherits."""
    names = ("CUDA_VISIBLE_DEVICES", "RLTUNE_HOSTS")
    lines = [f"{name}={os.environ.get(name)}" for name in names]
    lines += [name for name in sorted(INHERITED) if name.startswith(("RAY_", "TUNE_"))]
    (suggestion.directory / "environment").write_text("\n".join(lines))
    report(Measurement(1, {"loss": 0.0}))
    time.sleep(1.5)
    return None


class TestASurroundingOfItsOwn:
    def test_trials_have_gpus_of_their_own_and_no_part_in_the_clusters_session(
        self, cluster: Cluster, tmp_path: Path
    ) -> None:
        """Each of the two nodes has a GPU 0; a trial that uses Ray itself must not find the cluster by a variable."""
        brain = brain_of(tmp_path, 2)
        resources = Resources(gpus=1, grace_seconds=0.5)
        executor(cluster, per_trial={"CPU": 1, "GPU": 1}, resources=resources).run(brain, tell_surroundings)
        assert brain.most_at_once == 2
        for number in range(2):
            text = (tmp_path / f"{number:04d}" / "environment").read_text()
            assert text.splitlines() == ["CUDA_VISIBLE_DEVICES=0", "RLTUNE_HOSTS=None", "RAY_ADDRESS"]

    def test_a_trial_on_several_nodes_is_told_their_addresses(self, cluster: Cluster, tmp_path: Path) -> None:
        brain = brain_of(tmp_path, 1)
        executor(cluster, per_trial={"CPU": 2}, nodes=2).run(brain, tell_surroundings)
        text = (tmp_path / "0000" / "environment").read_text()
        assert len(text.partition("RLTUNE_HOSTS=")[2].split(",")) == 2


def save_and_go_on(suggestion: Suggestion, report: Report) -> Mapping[str, float] | None:
    """Counts on from a checkpoint, and says so in a file."""
    start = 0
    if suggestion.resume_from is not None:
        start = int((suggestion.resume_from / "count").read_text())
        (suggestion.directory / "resumed").write_text(str(suggestion.resume_from))
    print("on the node")
    for step in range(start + 1, start + 4):
        place = suggestion.directory / "checkpoints" / str(step)
        place.mkdir(parents=True)
        (place / "count").write_text(str(step))
        report(Measurement(step, {"loss": 1.0 / step}, checkpoint=str(place)))
    return None


def save_slowly(suggestion: Suggestion, report: Report) -> Mapping[str, float] | None:
    """Slower than the news of a node's death."""

    def slowly(measurement: Measurement) -> None:
        report(measurement)
        time.sleep(1.5)

    return save_and_go_on(suggestion, slowly)


class TestWithoutASharedFolder:
    def test_the_trials_folder_comes_back(self, cluster: Cluster, tmp_path: Path) -> None:
        seen = set(Path(tempfile.gettempdir()).glob("rltune-node-*"))
        brain = brain_of(tmp_path / "study", 2)
        executor(cluster, shared=False).run(brain, save_and_go_on)
        for number in range(2):
            folder = tmp_path / "study" / f"{number:04d}"
            assert (folder / "checkpoints" / "3" / "count").read_text() == "3"
            assert "on the node" in (folder / "stdout.log").read_text()
            assert [Path(m.checkpoint or "") for m in brain.seen[number]] == [
                folder / "checkpoints" / str(step) for step in (1, 2, 3)
            ]
        assert set(Path(tempfile.gettempdir()).glob("rltune-node-*")) <= seen, "left on the node"

    def test_a_checkpoint_is_there_as_soon_as_it_is_told(self, cluster: Cluster, tmp_path: Path) -> None:
        found = []

        class Looking(ScriptedBrain):
            def observe(self, job: int, measurement: Measurement) -> Decision:
                found.append((Path(measurement.checkpoint or "") / "count").read_text())
                return super().observe(job, measurement)

        executor(cluster, shared=False).run(Looking(tmp_path / "study", [{}]), save_and_go_on)
        assert found == ["1", "2", "3"]

    def test_a_trial_goes_on_from_a_checkpoint_that_its_node_does_not_see(
        self, cluster: Cluster, tmp_path: Path
    ) -> None:
        checkpoint = tmp_path / "earlier" / "7"
        checkpoint.mkdir(parents=True)
        (checkpoint / "count").write_text("7")

        class Resuming(ScriptedBrain):
            def suggest(self) -> Any:
                suggestion = super().suggest()
                if isinstance(suggestion, Suggestion):
                    return replace(suggestion, resume_from=checkpoint)
                return suggestion

        brain = Resuming(tmp_path / "study", [{}])
        executor(cluster, shared=False).run(brain, save_and_go_on)
        assert [m.step for m in brain.seen[0]] == [8, 9, 10]
        assert (tmp_path / "study" / "0000" / "resumed").read_text() != str(checkpoint)

    def test_it_is_found_out_whether_the_folder_is_shared(self, cluster: Cluster, tmp_path: Path) -> None:
        """All nodes are on this machine, so it is; and what was needed to find out is gone afterwards."""
        brain = brain_of(tmp_path / "study", 1)
        (tmp_path / "study").mkdir()
        executor(cluster, folder=tmp_path / "study").run(brain, save_and_go_on)
        assert {path.name for path in (tmp_path / "study").iterdir()} == {"0000"}
        assert str(brain.seen[0][0].checkpoint).startswith(str(tmp_path / "study" / "0000"))


def slow(suggestion: Suggestion, report: Report) -> Mapping[str, float] | None:
    """One line in a ledger for each begin and end."""
    with (suggestion.directory.parent / "ledger").open("a") as ledger:
        ledger.write(f"began {suggestion.number}\n")
    for step in range(1, 4):
        report(Measurement(step, {"loss": 1.0}))
        time.sleep(0.1)
    with (suggestion.directory.parent / "ledger").open("a") as ledger:
        ledger.write(f"ended {suggestion.number}\n")
    return None


class TestLostNodes:
    def test_eight_nodes_of_which_two_die(self, tmp_path: Path) -> None:
        """200 trials: what had ended stays, what ran on the dead nodes is asked again, nothing is lost or doubled."""
        with running_cluster(num_cpus=1) as cluster:
            nodes = [cluster.add_node(num_cpus=1, wait=False) for _ in range(7)]
            cluster.wait_for_nodes()
            tuner = make_tuner(tmp_path, n=200)
            ended: list[Any] = []

            def noted(record: Any) -> None:
                ended.extend([record.cause] if record.state is not TrialState.RUNNING else [])
                # two, and another each time that those were idle
                dead, none_lost = 7 - len(nodes), Cause.LOST not in ended
                while len(ended) >= 80 + 20 * max(0, dead - 1) and dead < (5 if none_lost else 2):
                    cluster.remove_node(nodes.pop(), allow_graceful=False)
                    dead += 1

            tuner.on_change = noted
            executor(cluster, workers=8).run(tuner, slow)
            tuner.close()
        records = tuner.records
        lost = [r for r in records if r.cause is Cause.LOST]
        done = [r for r in records if r.cause is None]
        assert len(nodes) <= 5
        assert lost, "no trial ran on the nodes that died"
        assert len(done) == 200
        assert {r.retry_of for r in records if r.retry_of is not None} == {r.number for r in lost}
        ledger = Counter((tmp_path / "trials" / "ledger").read_text().splitlines())
        assert all(ledger[f"ended {r.number}"] == 1 for r in done)
        assert set(ledger.values()) == {1}, "a trial ran twice"

    def test_a_trial_on_a_dead_node_goes_on_from_its_checkpoint(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with running_cluster(num_cpus=0) as cluster:
            node = cluster.add_node(num_cpus=1)
            tuner = make_tuner(tmp_path, n=1)
            killed = False
            observe = tuner.observe

            def observed(job: int, measurement: Measurement) -> Decision:
                nonlocal killed
                decision = observe(job, measurement)
                if measurement.step == 2 and not killed:
                    killed = True
                    cluster.add_node(num_cpus=1)
                    cluster.remove_node(node, allow_graceful=False)
                return decision

            tuner.observe = observed  # type: ignore[method-assign]
            executor(cluster, shared=False, ray_log=tmp_path / "ray.log").run(tuner, save_slowly)
            tuner.close()
        first, second = tuner.records
        assert first.cause is Cause.LOST
        assert second.cause is None
        assert second.retry_of == first.number
        assert (tmp_path / "trials" / "0001" / "resumed").exists()
        assert [m.step for m in tuner.folder.trial(1).read_metrics()] == [1, 2, 3, 4, 5]
        assert capfd.readouterr().out == ""


class TestTheEnd:
    def test_what_the_brain_raises_comes_out_and_the_trials_are_ended(self, cluster: Cluster, tmp_path: Path) -> None:
        class Full(ScriptedBrain):
            def observe(self, job: int, measurement: Measurement) -> Decision:
                if measurement.step == 3:
                    raise FolderError("the disk is full")
                return super().observe(job, measurement)

        brain = Full(tmp_path, [{"do": "report_forever"}] * 2)
        with pytest.raises(FolderError, match="the disk is full"):
            executor(cluster, workers=2).run(brain, scripted_trainer)
        assert not processes_with(str(tmp_path))

    def test_a_trainer_that_cannot_be_loaded(self, cluster: Cluster, tmp_path: Path) -> None:
        brain = brain_of(tmp_path, 3)
        with pytest.raises(TrainerError, match="there is no such model"):
            executor(cluster).run(brain, Broken())
        assert all(outcome.cause is Cause.INTERRUPTED for outcome in brain.outcomes.values())

    def test_this_process_is_left_as_it_was(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A cluster that was started for the run is gone with it: its processes, its files, its variables."""
        place = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short, for the sockets; nobody else writes there
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        before = dict(os.environ)
        handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        children = set(psutil.Process().children(recursive=True))
        try:
            RayExecutor(workers=2, ray_log=tmp_path / "ray.log").run(brain_of(tmp_path / "study", 2), scripted_trainer)
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGTERM, handler)
        assert dict(os.environ) == before
        place.rmdir()  # empty, or it fails
        deadline = time.monotonic() + 10
        while (left := set(psutil.Process().children(recursive=True)) - children) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left

    def test_ray_says_nothing_here(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        RayExecutor(ray_log=tmp_path / "ray.log").run(brain_of(tmp_path / "study", 2), scripted_trainer)
        assert capfd.readouterr() == ("", "")
        assert "Ray instance" in (tmp_path / "ray.log").read_text()


class Broken:
    def load(self) -> None:
        raise TrainerError("there is no such model")

    def __call__(self, suggestion: Suggestion, report: Report) -> None:
        raise NotImplementedError


class TestTheUsersCode:
    def test_it_is_shipped_where_asked(self, cluster: Cluster, tmp_path: Path) -> None:
        """By Ray's `runtime_env`; the module lies where no node would look for it."""
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "shipped_only.py").write_text("ANSWER = 42.0\n")

        def train(suggestion: Suggestion, report: Report) -> Mapping[str, float]:
            import shipped_only

            return {"loss": shipped_only.ANSWER}

        brain = brain_of(tmp_path / "study", 1)
        executor(cluster, runtime_env={"working_dir": str(tmp_path / "code")}).run(brain, train)
        assert brain.outcomes[0].metrics == {"loss": 42.0}
