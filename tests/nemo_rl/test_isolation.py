from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltune.errors import TrainerError
from rltune.folder import TrialDir
from rltune.trainers.nemo_rl import isolation
from rltune.trainers.nemo_rl.recipe import Recipe, load_recipe
from rltune.types import Suggestion

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")

RECIPE = """
grpo: {seed: 42, max_num_steps: 10, val_period: 5}
policy: {model_name: tiny, dtensor_cfg: {enabled: true}}
checkpointing: {enabled: true, checkpoint_dir: results/grpo, metric_name: "val:accuracy", higher_is_better: true}
logger:
  log_dir: logs
  wandb_enabled: true
  tensorboard_enabled: false
  mlflow_enabled: false
  swanlab_enabled: true
  wandb: {project: p, name: n}
  swanlab: {project: p, name: n}
cluster: {gpus_per_node: 1, num_nodes: 1, master_port_range_low: 1400, master_port_range_high: 1999}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    return load_recipe(file)


def trial(folder: Path, number: int = 3) -> Suggestion:
    return Suggestion(number, {}, 11, folder / "my-study" / "trials" / f"{number:04d}")


def checkpoint(folder: Path, step: int, **info: Any) -> Path:
    made = folder / f"step_{step}"
    (made / "policy" / "weights").mkdir(parents=True)
    (made / "policy" / "weights" / "model.bin").write_bytes(b"weights")
    (made / "training_info.json").write_text(json.dumps(info))
    return made


class TestSettings:
    def test_folders_lie_in_the_trials_own(self, recipe: Recipe, tmp_path: Path) -> None:
        one = trial(tmp_path)
        found = isolation.settings(recipe, one, {"WANDB_MODE": "offline"})
        assert found["checkpointing.checkpoint_dir"] == f"{one.directory}/checkpoints"
        assert found["logger.log_dir"] == f"{one.directory}/logs"
        assert found["logger.tensorboard_enabled"] is True

    def test_services_get_a_name_for_each_trial(self, recipe: Recipe, tmp_path: Path) -> None:
        found = isolation.settings(recipe, trial(tmp_path), {"WANDB_API_KEY": "k"})
        assert (found["logger.wandb.name"], found["logger.wandb.group"]) == ("my-study-0003", "my-study")
        assert found["logger.swanlab.name"] == "my-study-0003"
        assert "logger.wandb_enabled" not in found
        assert "logger.mlflow.run_name" not in found

    def test_wandb_is_off_where_it_cannot_log_in(self, recipe: Recipe, tmp_path: Path) -> None:
        found = isolation.settings(recipe, trial(tmp_path), {"NETRC": str(tmp_path / "none")})
        assert found["logger.wandb_enabled"] is False
        assert "logger.wandb.name" not in found

    def test_a_login_in_netrc(self, tmp_path: Path) -> None:
        file = tmp_path / ".netrc"
        file.write_text("machine api.wandb.ai login user password secret\n")
        assert isolation.has_wandb_login({"NETRC": str(file)})
        assert not isolation.has_wandb_login({"NETRC": str(file), "WANDB_BASE_URL": "https://wandb.example.org"})
        file.write_text("machine\n")
        assert not isolation.has_wandb_login({"NETRC": str(file)})

    @given(st.integers(1, 60000), st.integers(0, 5000), st.integers(0, 500))
    def test_trials_with_near_numbers_share_no_port(self, low: int, more: int, first: int) -> None:
        high = low + more
        blocks = [isolation.port_block(low, high, first + k) for k in range(16)]
        assert all(low <= a <= b <= high for a, b in blocks)
        if more >= 15:
            ports = [port for a, b in blocks for port in range(a, b + 1)]
            assert len(ports) == len(set(ports))

    def test_trials_of_a_study_have_ports_of_their_own_and_another_study_begins_elsewhere(
        self, recipe: Recipe, tmp_path: Path
    ) -> None:
        def ports(number: int, study: str = "s") -> tuple[int, int]:
            one = replace(trial(tmp_path, number), directory=tmp_path / study / "trials" / f"{number:04d}")
            both = isolation.settings(recipe, one, {})
            return both["cluster.master_port_range_low"], both["cluster.master_port_range_high"]

        blocks = [ports(number) for number in range(16)]
        assert len(set(blocks)) == 16
        assert all(1400 <= low < high <= 1999 for low, high in blocks)
        assert len({ports(0, f"study-{n}") for n in range(20)}) > 5

    def test_no_ports_where_the_recipe_wants_none(self, recipe: Recipe, tmp_path: Path) -> None:
        bare = recipe.with_overrides({"cluster.master_port_range_low": None})
        assert not any("port" in key for key in isolation.settings(bare, trial(tmp_path), {}))


class TestEnvironment:
    def test_a_private_cluster(self, recipe: Recipe, tmp_path: Path) -> None:
        found = isolation.environment(recipe, tmp_path, ())
        assert found["RAY_ADDRESS"] == "local"
        assert found["RAY_TMPDIR"] == str(tmp_path)

    def test_what_the_study_file_sets_stays(self, recipe: Recipe, tmp_path: Path) -> None:
        assert "RAY_ADDRESS" not in isolation.environment(recipe, tmp_path, ["RAY_ADDRESS"])

    def test_a_cluster_of_several_nodes_is_there_already(self, recipe: Recipe, tmp_path: Path) -> None:
        found = isolation.environment(recipe.with_overrides({"cluster.num_nodes": 2}), tmp_path, ())
        assert not [name for name in found if name.startswith("RAY")]

    def test_the_temp_folder_leaves_room_for_rays_sockets(self) -> None:
        folder = isolation.short_folder()
        try:
            sockets = "ray/session_2026-12-31_23-59-59_123456_12345678/sockets/plasma_store"
            assert len(str(folder / sockets)) < 107
        finally:
            folder.rmdir()


class TestCheckpoints:
    def test_a_folder_that_is_not_empty_is_refused(self, tmp_path: Path) -> None:
        checkpoint(tmp_path, 5)
        with pytest.raises(TrainerError, match=r"is not empty \(step_5\).*silently go on"):
            isolation.prepare_checkpoints(tmp_path, None)

    def test_an_empty_or_missing_one_is_fine(self, tmp_path: Path) -> None:
        isolation.prepare_checkpoints(tmp_path, None)
        isolation.prepare_checkpoints(tmp_path / "none", None)

    def test_the_newest_of_ones_own(self, tmp_path: Path) -> None:
        checkpoint(tmp_path, 5)
        isolation.prepare_checkpoints(tmp_path, checkpoint(tmp_path, 10))
        with pytest.raises(TrainerError, match="also holds step_10"):
            isolation.prepare_checkpoints(tmp_path, tmp_path / "step_5")

    def test_another_trials_is_linked_in_and_stays_there(self, tmp_path: Path) -> None:
        theirs, ours = checkpoint(tmp_path / "a", 5), tmp_path / "b"
        isolation.prepare_checkpoints(ours, theirs)
        assert [folder.name for folder in ours.iterdir()] == ["step_5"]
        isolation.tidy(tmp_path, "none", higher_is_better=True, metric=None)
        weights = ours / "step_5" / "policy" / "weights" / "model.bin"
        assert weights.read_bytes() == b"weights"
        weights.unlink()
        assert (theirs / "policy" / "weights" / "model.bin").exists()

    @pytest.mark.parametrize("name", ["weights", "tmp_step_5", "step_9"])
    def test_what_is_no_checkpoint(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "weights").mkdir()
        (tmp_path / "tmp_step_5").mkdir()
        with pytest.raises(TrainerError, match="must be the folder of a checkpoint"):
            isolation.prepare_checkpoints(tmp_path / "own", tmp_path / name)


class TestTidy:
    @pytest.fixture
    def ended(self, tmp_path: Path) -> Path:
        checkpoint(tmp_path / "checkpoints", 5, **{"val:accuracy": 0.3})
        checkpoint(tmp_path / "checkpoints", 10, **{"val:accuracy": 0.5})
        checkpoint(tmp_path / "checkpoints", 15, **{"val:accuracy": 0.4})
        checkpoint(tmp_path / "checkpoints", 20)
        (tmp_path / "checkpoints" / "tmp_step_25").mkdir()
        logs = tmp_path / "logs" / "exp_001"
        logs.mkdir(parents=True)
        (logs / "train_data_step1.jsonl").write_text("{}")
        (logs / "val_data_step5.jsonl").write_text("{}")
        return tmp_path

    @pytest.mark.parametrize(
        ("keep", "higher", "metric", "kept"),
        [
            ("best", True, "val:accuracy", ["step_10"]),
            ("best", False, "val:accuracy", ["step_5"]),
            ("best", True, "val:reward", ["step_20"]),
            ("best", True, None, ["step_20"]),
            ("none", True, "val:accuracy", []),
            ("all", True, "val:accuracy", ["step_10", "step_15", "step_20", "step_5", "tmp_step_25"]),
        ],
    )
    def test_what_is_kept(self, ended: Path, keep: str, higher: bool, metric: str | None, kept: list[str]) -> None:
        isolation.tidy(ended, keep, higher_is_better=higher, metric=metric)
        assert sorted(folder.name for folder in (ended / "checkpoints").iterdir()) == kept
        logs = sorted(file.name for file in (ended / "logs" / "exp_001").iterdir())
        assert logs == (["train_data_step1.jsonl"] if keep == "all" else []) + ["val_data_step5.jsonl"]

    def test_it_says_what_it_removed(self, ended: Path) -> None:
        said = isolation.tidy(ended, "best", higher_is_better=True, metric="val:accuracy")
        assert said == ["removed 4 checkpoints, kept step_10", "removed the rollouts of 1 steps"]
        assert isolation.tidy(ended, "best", higher_is_better=True, metric="val:accuracy") == []

    def test_a_link_out_of_the_folder_is_not_followed(self, tmp_path: Path) -> None:
        outside = checkpoint(tmp_path / "elsewhere", 5)
        (tmp_path / "trial" / "checkpoints").mkdir(parents=True)
        (tmp_path / "trial" / "checkpoints" / "step_5").symlink_to(outside)
        isolation.tidy(tmp_path / "trial", "none", higher_is_better=True, metric=None)
        assert (outside / "training_info.json").exists()

    def test_a_trial_that_left_nothing(self, tmp_path: Path) -> None:
        assert isolation.tidy(tmp_path, "best", higher_is_better=True, metric=None) == []


def trial_in(trials: Path) -> TrialDir:
    """A trial's folder, beside those of the others."""
    return TrialDir(Path(tempfile.mkdtemp(dir=trials)))


def _hold(trials: Path, begun: Event, end: Event, *, warm: bool) -> None:
    with isolation.warm_up(trial_in(trials)) as warmed:
        begun.set()
        end.wait(30)
        if warm:
            warmed()


class TestWarmUp:
    @pytest.fixture
    def hold(self, tmp_path: Path) -> Any:
        """Starts a process that takes a turn; gives what ends it, and a way to learn that it has begun."""
        context, started = multiprocessing.get_context("spawn"), []

        def start(*, warm: bool) -> tuple[Event, Callable[[], None]]:
            begun, end = context.Event(), context.Event()
            process = context.Process(target=_hold, args=(tmp_path, begun, end), kwargs={"warm": warm})
            process.start()
            started.append((process, end))
            assert begun.wait(30)

            def finish() -> None:
                end.set()
                process.join(30)

            return end, finish

        yield start
        for process, end in started:
            end.set()
            process.join(30)

    @pytest.mark.parametrize("warm", [True, False])
    def test_the_second_waits_for_the_first(self, tmp_path: Path, hold: Any, warm: bool) -> None:
        end, finish = hold(warm=warm)
        said = []

        trial = trial_in(tmp_path)

        def notify(text: str) -> None:
            said.append(text)
            assert trial.waiting.exists()  # its limits do not run
            end.set()

        with isolation.warm_up(trial, notify):
            assert len(said) == 1
            assert not trial.waiting.exists()
            finish()
            assert (tmp_path / "warm_up.done").exists() is warm

    def test_a_warm_up_that_failed_leaves_the_next_one_alone(self, tmp_path: Path) -> None:
        with isolation.warm_up(trial_in(tmp_path)):
            pass
        with isolation.warm_up(trial_in(tmp_path)) as warmed:
            assert not (tmp_path / "warm_up.done").exists()
            warmed()
            with isolation.warm_up(trial_in(tmp_path)) as again:
                again()

    def test_nobody_waits_once_a_step_was_taken(self, tmp_path: Path, hold: Any) -> None:
        (tmp_path / "warm_up.done").touch()
        hold(warm=True)
        begin = time.monotonic()
        with isolation.warm_up(trial_in(tmp_path), pytest.fail):
            assert time.monotonic() >= begin
