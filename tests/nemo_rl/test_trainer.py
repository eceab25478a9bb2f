"""NeMo RL's trainer against the stand-in checkout, which is started as the real one is."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults_harness import fingerprint

from rltune.errors import InputError, TrainerError
from rltune.trainers.nemo_rl import trainer as nemo_rl_trainer
from rltune.trainers.nemo_rl.recipe import load_recipe
from rltune.trainers.nemo_rl.trainer import NemoRlTrainer
from rltune.types import Cause, Measurement, Outcome, Suggestion, TrialStopped
from rltune.worker import attempt

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")
pytest.importorskip("tensorboard", reason="metrics are read from event files")

STAND_IN = Path(__file__).with_name("stand_in")
PYTHON = [sys.executable]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose path needs quoting, so that nothing is written into the tests."""
    copy = tmp_path_factory.mktemp("nemo {rl}") / "NeMo-RL"
    shutil.copytree(STAND_IN, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture
def make(checkout: Path) -> Callable[..., NemoRlTrainer]:
    """A trainer with one of the stand-in's recipes; `STAND_IN` says how it misbehaves."""

    def make(recipe: str = "grpo_math_1B", *, stand_in: str = "", **options: Any) -> NemoRlTrainer:
        overrides = options.pop("overrides", {})
        found = load_recipe(checkout / "examples" / "configs" / f"{recipe}.yaml", checkout, overrides)
        env = {"STAND_IN": stand_in, "STAND_IN_STEP_SECONDS": "0", "TORCH_CUDA_ARCH_LIST": "9.0"}
        usual = {"launch": PYTHON, "env": env | options.pop("env", {}), "horizon": 4}
        return NemoRlTrainer(found, overrides, **usual | options)

    return make


@pytest.fixture
def suggest(tmp_path: Path) -> Callable[..., Suggestion]:
    def suggest(params: Mapping[str, Any] | None = None, number: int = 7, **fields: Any) -> Suggestion:
        directory = tmp_path / "my study" / "trials" / f"{number:04d}"
        directory.mkdir(parents=True, exist_ok=True)
        return Suggestion(number, params or {}, 11, directory, **fields)

    return suggest


def run(trainer: NemoRlTrainer, suggestion: Suggestion) -> tuple[Outcome, list[Measurement]]:
    seen: list[Measurement] = []
    return attempt(trainer, suggestion, seen.append), seen


def curve(seen: list[Measurement], tag: str) -> dict[int, float]:
    return {m.step: m.metrics[tag] for m in seen if tag in m.metrics}


def log_of(suggestion: Suggestion) -> str:
    return (suggestion.directory / "stdout.log").read_text()


def words_of(trainer: NemoRlTrainer, suggestion: Suggestion) -> dict[str, str]:
    """The settings on the command line, by key."""
    return dict(word.split("=", 1) for word in trainer.render(suggestion) if "=" in word)


class TestWords:
    def test_script_recipe_and_settings(self, make: Any, suggest: Any) -> None:
        words = make(launch=["uv", "run"], hook="off").render(suggest({"loss_fn.ratio_clip_max": 0.28}))
        assert words[:5] == ("uv", "run", "examples/run_grpo.py", "--config", "examples/configs/grpo_math_1B.yaml")
        assert "grpo.max_num_steps=4" in words
        assert "loss_fn.ratio_clip_max=0.28" in words
        assert "grpo.seed=11" in words

    def test_a_name_sets_every_key_that_must_move_with_it(self, make: Any, suggest: Any) -> None:
        words = words_of(make("grpo_math_1B_megatron"), suggest({"learning_rate": 1e-5}))
        assert words["policy.megatron_cfg.optimizer.lr"] == "1.0e-05"
        assert "policy.megatron_cfg.optimizer.min_lr" in words

    def test_the_script_follows_from_the_algorithm(self, make: Any, suggest: Any) -> None:
        assert make("dpo").script == "examples/run_dpo.py"
        assert "dpo.seed=11" in make("dpo").render(suggest())

    def test_the_seed_of_the_data_stays_the_recipes(self, make: Any, suggest: Any) -> None:
        """Else each trial would be validated on other rows."""
        assert words_of(make(), suggest())["data.train.seed"] == "42"

    def test_what_isolates_a_trial_wins(self, make: Any, suggest: Any) -> None:
        trainer = make(overrides={"checkpointing.checkpoint_dir": "/shared", "policy.model_name": "a=b"})
        one, other = words_of(trainer, suggest(number=1)), words_of(trainer, suggest(number=2))
        assert "/trials/0001/checkpoints" in one["checkpointing.checkpoint_dir"]
        assert one["policy.model_name"] == "'a=b'"
        assert one["logger.log_dir"] != other["logger.log_dir"]
        assert one["cluster.master_port_range_low"] != other["cluster.master_port_range_low"]

    def test_gpus_are_those_that_the_executor_gives(self, make: Any, suggest: Any) -> None:
        assert words_of(make(gpus_per_trial=2.0), suggest())["cluster.gpus_per_node"] == "2"
        assert "cluster.gpus_per_node" not in words_of(make(), suggest())

    def test_a_key_that_the_recipe_lacks(self, make: Any, suggest: Any) -> None:
        assert "++policy.extra=1" in make(overrides={"++policy.extra": 1}).render(suggest())
        with pytest.raises(InputError, match=r"policy\.extra"):
            make().render(suggest({"policy.extra": 1}))

    def test_wandb_groups_the_trials_of_a_study(self, make: Any, suggest: Any) -> None:
        trainer = make(overrides={"logger.wandb_enabled": True}, env={"WANDB_MODE": "offline"})
        words = words_of(trainer, suggest())
        assert (words["logger.wandb.name"], words["++logger.wandb.group"]) == ("'my study-0007'", "'my study'")

    def test_wandb_that_the_user_asks_for_is_on(self, make: Any, suggest: Any, tmp_path: Path) -> None:
        """The recipe's own wish for it is passed over where there is no login."""
        env = {"NETRC": str(tmp_path / "none")}
        asked = make("sft", overrides={"logger.wandb_enabled": True}, env=env)
        assert words_of(asked, suggest())["logger.wandb_enabled"] == "true"
        assert "0007" in words_of(asked, suggest())["logger.wandb.name"]
        assert words_of(make("sft", env=env), suggest())["logger.wandb_enabled"] == "false"

    @pytest.mark.slow
    @pytest.mark.parametrize(("asked", "mode"), [(True, "offline"), (False, None)])
    def test_wandb_without_a_login(self, make: Any, suggest: Any, tmp_path: Path, asked: bool, mode: Any) -> None:
        overrides = {"logger.wandb_enabled": True} if asked else {}
        assert run(make("sft", overrides=overrides, env={"NETRC": str(tmp_path / "none")}), suggest())[0] == Outcome()
        given = json.loads((suggest().directory / "env.json").read_text())["set"]
        assert given.get("WANDB_MODE") == mode
        assert ("W&B was offline" if asked else "W&B was off, though the recipe turns it on") in log_of(suggest())

    def test_the_config_is_the_whole_recipe_and_isolates_nothing(self, make: Any) -> None:
        config = make(overrides={"policy.model_name": "tiny"}).config({"learning_rate": 1e-5})
        assert config["policy"]["optimizer"]["kwargs"]["lr"] == 1e-5
        assert config["policy"]["tokenizer"]["name"] == "tiny"
        assert (config["grpo"]["max_num_steps"], config["checkpointing"]["checkpoint_dir"]) == (4, "results/grpo")
        with pytest.raises(TrainerError, match=r"policy\.nothing"):
            make().config({"policy.nothing": 1})

    def test_it_crosses_to_other_processes(self, make: Any, suggest: Any) -> None:
        trainer, suggestion = make(), suggest({"learning_rate": 1e-5})
        assert pickle.loads(pickle.dumps(trainer)).render(suggestion) == trainer.render(suggestion)


class TestCheck:
    def problems(self, trainer: NemoRlTrainer, *names: str, **options: Any) -> dict[str, str]:
        return {".".join(map(str, p.key)): f"{p.message} | {p.hint}" for p in trainer.check(names, **options)}

    def test_nothing_is_wrong(self, make: Any) -> None:
        assert self.problems(make(gpus_per_trial=1.0), "learning_rate", "loss_fn.ratio_clip_max") == {}

    def test_names(self, make: Any) -> None:
        found = self.problems(make(), "learning_rat", "policy.megatron_cfg.optimizer.lr")
        assert "learning_rate" in found["search_space.learning_rat"]
        assert "search_space.policy.megatron_cfg.optimizer.lr" in found

    def test_keys_that_rltune_sets(self, make: Any) -> None:
        trainer = make(overrides={"grpo.seed": 3, "logger.log_dir": "x"})
        found = self.problems(trainer, "checkpointing.checkpoint_dir", "grpo.max_num_steps", "seed")
        assert "`grpo.seed` is set by rltune" in found["search_space.seed"]
        assert "in every trial: trainer.horizon, 4" in found["search_space.grpo.max_num_steps"]
        assert "search_space.checkpointing.checkpoint_dir" in found
        assert "does nothing: rltune sets it" in found["trainer.nemo_rl.overrides.grpo.seed"]
        assert "trainer.nemo_rl.overrides.logger.log_dir" in found

    def test_rules_that_the_recipe_breaks(self, make: Any) -> None:
        trainer = make(overrides={"policy.train_global_batch_size": 500})
        assert "trainer.nemo_rl.recipe" in self.problems(trainer)

    @pytest.mark.parametrize(("gpus", "said"), [(8.0, "the recipe needs 1"), (0.5, "whole GPUs"), (1.0, "")])
    def test_gpus(self, make: Any, gpus: float, said: str) -> None:
        found = self.problems(make(gpus_per_trial=gpus))
        assert said in found.get("executor.gpus_per_trial", "")
        assert bool(found) is bool(said)

    def test_what_is_not_there(self, make: Any) -> None:
        found = self.problems(make(script="examples/run_none.py", launch=["no-such-program"]))
        assert "there is no script" in found["trainer.nemo_rl.script"]
        assert "there is no program `no-such-program`" in found["trainer.nemo_rl.launch"]

    def test_folds(self, make: Any) -> None:
        assert "no key for a fold" in self.problems(make(), needs_folds=True)["evaluation.cross_validation"]


@pytest.mark.slow
class TestRunning:
    def test_a_whole_trial(self, make: Any, suggest: Any) -> None:
        overrides = {"grpo.val_period": 2, "checkpointing.save_period": 2}
        trainer, suggestion = make(overrides=overrides), suggest({"learning_rate": 1e-5})
        outcome, seen = run(trainer, suggestion)
        assert outcome == Outcome()
        assert list(curve(seen, "train/loss")) == [1, 2, 3, 4]
        assert list(curve(seen, "validation/accuracy")) == [2, 4]
        assert not any(tag.startswith("ray/") for m in seen for tag in m.metrics)
        folder = suggestion.directory
        assert len(list((folder / "checkpoints").glob("step_*"))) == 1
        assert not list(folder.glob("logs/exp_*/train_data_step*.jsonl"))
        log = log_of(suggestion)
        assert "rltune: every key that was set is in the printed `MasterConfig(...)` and step_" in log
        assert "rltune: removed 1 checkpoints" in log
        assert json.loads((folder / "env.json").read_text())["set"]["RAY_ADDRESS"] == "local"
        assert not Path(json.loads((folder / "env.json").read_text())["set"]["RAY_TMPDIR"]).exists()
        assert (folder.parent / "warm_up.done").exists()

    def test_the_command_can_be_pasted(
        self, make: Any, suggest: Any, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It trains from the first step on, with the same values and GPUs, in a new folder in the trial's."""
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
        monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
        launcher = tmp_path / "launcher"
        launcher.write_text(f'#!/bin/sh\nenv > "{tmp_path}/given"\nPYTHONPATH=. exec "{sys.executable}" "$@"\n')
        launcher.chmod(0o755)
        trainer = make("grpo_math_1B_megatron", launch=[str(launcher)], overrides={"checkpointing.enabled": True})
        suggestion = suggest({"learning_rate": 1e-5})
        assert run(trainer, suggestion)[0] == Outcome()
        temp = json.loads((suggestion.directory / "env.json").read_text())["set"]["RAY_TMPDIR"]
        before, rows = fingerprint(suggestion.directory), "hook.jsonl"
        assert rows in before
        line = (suggestion.directory / "command.txt").read_text()
        assert temp not in line
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        for n in (1, 2):
            done = subprocess.run(["sh", "-c", line], cwd="/", capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "===== Step 1/4 =====" in done.stdout
            assert "rltune hook" not in done.stderr
            assert "'lr': 1e-05" in done.stdout
            folders = list(suggestion.directory.glob("replay-*"))
            assert len(folders) == n
            assert all((folder / "checkpoints" / "step_4").is_dir() for folder in folders)
            assert all((folder / "logs" / "exp_001").is_dir() for folder in folders)
        assert {name: digest for name, digest in fingerprint(suggestion.directory).items() if name in before} == before
        given = dict(each.split("=", 1) for each in (tmp_path / "given").read_text().splitlines() if "=" in each)
        assert given["CUDA_VISIBLE_DEVICES"] == "5"
        assert Path(given["RLTUNE_TRIAL_DIR"]) in folders
        assert given["RAY_TMPDIR"] != temp
        assert not Path(given["RAY_TMPDIR"]).exists()

    def test_the_command_of_a_trial_that_went_on_begins_anew(self, make: Any, suggest: Any) -> None:
        overrides = {"checkpointing.enabled": True}
        assert run(make(overrides=overrides), suggest())[0] == Outcome()
        (checkpoint,) = (suggest().directory / "checkpoints").glob("step_*")
        longer = suggest(number=8, resume_from=checkpoint)
        assert run(make(overrides=overrides, horizon=6), longer)[0] == Outcome()
        line = (longer.directory / "command.txt").read_text()
        env = os.environ | {"STAND_IN_STEP_SECONDS": "0"}
        done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=False)
        assert "===== Step 1/6 =====" in done.stdout, done.stderr
        assert "RLTUNE_RESUME_FROM" not in line

    @pytest.mark.parametrize(
        "recipe", ["dapo", "distillation_math", "dpo", "grpo_math_1B_megatron", "ppo_math_1B", "rm", "sft"]
    )
    def test_every_algorithm(self, make: Any, suggest: Any, recipe: str) -> None:
        outcome, seen = run(make(recipe, horizon=2), suggest({"learning_rate": 3e-6}))
        assert outcome == Outcome()
        assert list(curve(seen, "train/loss")) == [1, 2]

    def test_another_python_by_a_prefix(self, make: Any, suggest: Any, checkout: Path) -> None:
        env = {"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}", "STAND_IN_PYTHON": sys.executable}
        outcome, seen = run(make(launch=["uv", "run"], env=env), suggest())
        assert (outcome.cause, list(curve(seen, "train/loss"))) == (None, [1, 2, 3, 4])

    def test_a_port_that_is_taken(self, make: Any, suggest: Any, tmp_path: Path, monkeypatch: Any) -> None:
        """It starts again with other ports, after waits that grow, and at most twice."""
        first, second = nemo_rl_trainer._PORT_WAITS
        assert 0 < first < second < 60
        monkeypatch.setattr(nemo_rl_trainer, "_PORT_WAITS", (0.01, 0.02))
        launcher = tmp_path / "launcher"
        launcher.write_text(
            "#!/bin/sh\n"
            'ports="$(echo "$@" | grep -o "master_port_range_[a-z]*=[0-9]*" | cut -d= -f2 | tr "\\n" " ")"\n'
            f'echo "$ports" >> "{tmp_path}/ports"\n'
            f'[ "$(wc -l < "{tmp_path}/ports")" -gt "$TAKEN" ] || STAND_IN=busy_port\n'
            f'export STAND_IN\nexec "{sys.executable}" "$@"\n'
        )
        launcher.chmod(0o755)
        outcome, seen = run(make(launch=[str(launcher)], env={"TAKEN": "2"}), suggest())
        assert (outcome, list(curve(seen, "train/loss"))) == (Outcome(), [1, 2, 3, 4])
        assert re.findall(r"it starts again in (\S+) s, with other master ports", log_of(suggest())) == ["0.01", "0.02"]
        ranges = [tuple(map(int, line.split())) for line in (tmp_path / "ports").read_text().splitlines()]
        ports = [port for low, high in ranges for port in range(low, high + 1)]
        assert len(ports) == len(set(ports))
        outcome, _ = run(make(launch=[str(launcher)], env={"TAKEN": "99"}), suggest(number=8))
        assert (outcome.cause, outcome.again) == (Cause.LOST, True)
        assert len((tmp_path / "ports").read_text().splitlines()) == 3 + 3

    @pytest.mark.parametrize(
        ("stand_in", "cause", "again", "said"),
        [
            ("oom:2", Cause.OUT_OF_MEMORY, False, "CUDA out of memory"),
            ("nccl:2", Cause.LOST, True, "NCCL failed"),
            ("vllm_start", Cause.ERROR, False, "vLLM did not start"),
            ("placement_timeout", Cause.LOST, True, "placement group timed out"),
            ("too_few_gpus", Cause.LOST, True, "fewer GPUs"),
            ("busy_port", Cause.LOST, True, "a port that it needs was taken"),
            ("lost_cluster:2", Cause.LOST, True, "its Ray cluster went away"),
            ("oom_killed:2", Cause.LOST, False, "SIGKILL"),
            ("die_in_validation", Cause.ERROR, False, "UnboundLocalError"),
            ("exit_early:2", Cause.ERROR, False, "exited with 0, but ended after 2 of 4 steps"),
            ("join_foreign_checkpoint:2", Cause.ERROR, False, "its first step was 3 instead of 1"),
            ("ignore_key:loss_fn.ratio_clip_max", Cause.IGNORED_KEY, False, "`loss_fn.ratio_clip_max` was set to 0.28"),
        ],
    )
    def test_causes(self, make: Any, suggest: Any, stand_in: str, cause: Cause, again: bool, said: str) -> None:
        trainer = make(stand_in=stand_in, overrides={"grpo.val_period": 2})
        outcome, _ = run(trainer, suggest({"loss_fn.ratio_clip_max": 0.28}))
        assert (outcome.cause, outcome.again) == (cause, again)
        assert said in outcome.message

    def test_an_ignored_key_ends_the_trial_before_its_first_step(self, make: Any, suggest: Any) -> None:
        trainer = make(stand_in="ignore_key:loss_fn.ratio_clip_max,slow_setup:60")
        outcome, seen = run(trainer, suggest({"loss_fn.ratio_clip_max": 0.28}))
        assert (outcome.cause, seen) == (Cause.IGNORED_KEY, [])

    def test_preemption(self, make: Any, suggest: Any) -> None:
        def preempt(_measurement: Measurement) -> None:
            for child in psutil.Process().children():
                child.send_signal(signal.SIGTERM)

        outcome = attempt(make(stand_in="slow_step:0.2", horizon=500), suggest(), preempt)
        assert (outcome.cause, outcome.again) == (Cause.LOST, True)
        assert "as when it is preempted" in outcome.message

    def test_a_lost_trial_keeps_its_newest_checkpoint_beside_its_best(self, make: Any, suggest: Any) -> None:
        suggestion = suggest()
        checkpoints = suggestion.directory / "checkpoints"

        def preempt(measurement: Measurement) -> None:
            if measurement.checkpoint is not None and measurement.step >= 4:
                info = checkpoints / "step_2" / "training_info.json"
                info.write_text(json.dumps(json.loads(info.read_text()) | {"val:accuracy": 0.99}))
                for child in psutil.Process().children():
                    child.send_signal(signal.SIGTERM)

        overrides = {"checkpointing.enabled": True, "checkpointing.save_period": 2, "grpo.val_period": 2}
        trainer = make(stand_in="slow_step:0.05", horizon=500, overrides=overrides | {"checkpointing.keep_top_k": 9})
        assert attempt(trainer, suggestion, preempt).cause is Cause.LOST
        assert {"step_2", "step_4"} <= {folder.name for folder in checkpoints.glob("step_*")}
        assert not list(suggestion.directory.glob("logs/exp_*/train_data_step*.jsonl"))

    def test_told_to_stop(self, make: Any, suggest: Any) -> None:
        suggestion = suggest()
        checkpoints = suggestion.directory / "checkpoints"

        def stop(_measurement: Measurement) -> None:
            if len(list(checkpoints.glob("step_*"))) > 1:
                raise TrialStopped

        trainer = make(stand_in="slow_step:0.2,orphan", horizon=500, overrides={"checkpointing.save_period": 1})
        outcome = attempt(trainer, suggestion, stop)
        assert (outcome.stopped, outcome.cause) == (True, None)
        pid = int(next(suggestion.directory.glob("logs/exp_*/orphan.pid")).read_text())
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert len(list(checkpoints.glob("step_*"))) > 1  # whether anybody goes on from there, its tuner knows
        trainer.tidy(suggestion.directory, superseded=False)
        assert len(list(checkpoints.iterdir())) <= 2  # the best, and a file on the last one
        trainer.tidy(suggestion.directory, superseded=True)
        assert not list(checkpoints.glob("step_*"))

    def test_without_any_account_of_the_config_it_says_so(self, make: Any, suggest: Any, tmp_path: Path) -> None:
        script = tmp_path / "silent.py"
        script.write_text("print('=' * 9, 'Step 4/4', '=' * 9)")
        suggestion = suggest()
        assert run(make(script=str(script), hook="off"), suggestion)[0] == Outcome()
        assert "rltune: whether the keys that were set reached the trainer is not known" in log_of(suggestion)

    def test_a_trial_that_left_checkpoints_is_not_silently_continued(self, make: Any, suggest: Any) -> None:
        (suggest().directory / "checkpoints" / "step_2").mkdir(parents=True)
        outcome, _ = run(make(), suggest())
        assert outcome.cause is Cause.ERROR
        assert "is not empty (step_2)" in outcome.message


@pytest.mark.slow
class TestGoingOn:
    @pytest.fixture(params=["grpo_math_1B", "grpo_math_1B_megatron"])
    def recipe(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def begun(self, trainer: NemoRlTrainer, suggestion: Suggestion) -> Path:
        assert run(trainer, suggestion)[0] == Outcome()
        (checkpoint,) = (suggestion.directory / "checkpoints").glob("step_*")
        return checkpoint

    def test_a_longer_run_takes_up_where_the_shorter_ended(self, make: Any, suggest: Any, recipe: str) -> None:
        overrides, scheduler = {"checkpointing.enabled": True}, "policy.megatron_cfg.scheduler"
        if "megatron" in recipe:  # whose decay would end with the run, wherever that is
            overrides |= {f"{scheduler}.lr_decay_iters": None, f"{scheduler}.lr_warmup_iters": 1}
        params = {"learning_rate": 1e-5}
        checkpoint = self.begun(make(recipe, overrides=overrides), suggest(params))
        longer = suggest(params, number=8, resume_from=checkpoint)
        outcome, seen = run(make(recipe, overrides=overrides, horizon=6), longer)
        assert outcome == Outcome()
        assert list(curve(seen, "train/loss")) == [5, 6]
        assert checkpoint.exists()

    def test_another_learning_rate_is_refused(self, make: Any, suggest: Any, recipe: str) -> None:
        overrides = {"checkpointing.enabled": True}
        checkpoint = self.begun(make(recipe, overrides=overrides), suggest({"learning_rate": 1e-5}))
        other = suggest({"learning_rate": 2e-5}, number=8, resume_from=checkpoint)
        outcome, _ = run(make(recipe, overrides=overrides, horizon=6), other)
        assert outcome.cause is Cause.ERROR
        assert "lr` was set to 2e-05 and is 1e-05 there" in outcome.message

    def test_a_shorter_run_is_refused(self, make: Any, suggest: Any) -> None:
        checkpoint = self.begun(make(), suggest())
        outcome, _ = run(make(horizon=3), suggest(number=8, resume_from=checkpoint))
        assert "a run may only be prolonged, so raise `trainer.horizon`" in outcome.message

    def test_weights_alone_may_go_on_otherwise(self, make: Any, suggest: Any) -> None:
        checkpoint = self.begun(make(), suggest({"learning_rate": 1e-5}))
        shutil.rmtree(checkpoint / "policy" / "optimizer")
        other = suggest({"learning_rate": 2e-5}, number=8, resume_from=checkpoint)
        assert run(make(horizon=6), other)[0] == Outcome()
