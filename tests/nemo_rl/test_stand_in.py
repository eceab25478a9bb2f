"""The stand-in behaves as NeMo RL does where rltune relies on it; what it makes up is a learning curve to tune."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import yaml

BOARD = "logger.tensorboard_enabled=true"

COMPOSE = """
import json, sys
from omegaconf import OmegaConf
from nemo_rl.algorithms.master_config import MODELS
from nemo_rl.utils.config import load_config, parse_hydra_overrides, register_omegaconf_resolvers

register_omegaconf_resolvers()
answers = []
for key, overrides in json.load(sys.stdin):
    try:
        config = parse_hydra_overrides(load_config(sys.argv[1]), overrides)
        config = MODELS["grpo"](**OmegaConf.to_container(config, resolve=True)).model_dump()
        for part in key.split("."):
            config = config[int(part) if isinstance(config, list) else part]
        answers.append(["value", config])
    except KeyError as error:
        answers.append(["absent", str(error)])
    except Exception as error:
        answers.append([type(error).__name__, str(error)])
json.dump(answers, sys.stdout)
"""

LR = "policy.optimizer.kwargs.lr"
TOTAL = "policy.scheduler.0.kwargs.total_iters"
BETAS = "policy.optimizer.kwargs.betas"
GBS = "policy.train_global_batch_size"
CHECKPOINTS = "checkpointing.checkpoint_dir"
WANDB = "logger.wandb.name"

SET = [  # key, override, value
    (LR, f"{LR}=1e-5", 1e-5),
    (LR, f"{LR}=5.0e-6", 5e-6),
    (LR, f"{LR}=.5e-6", 5e-7),
    (LR, f"{LR}=1E-6", 1e-6),
    (LR, f"{LR}='1e-5'", "1e-5"),
    (LR, f"{LR}=1_000", 1000),
    (LR, f"{LR}=0x10", "0x10"),
    (LR, f"{LR}=null", None),
    (LR, f"++{LR}=1e-5", 1e-5),
    ("grpo.val_at_end", "grpo.val_at_end=yes", True),
    (TOTAL, f"{TOTAL}=7", 7),
    (f"{BETAS}.1", f"{BETAS}.1=0.95", 0.95),
    (BETAS, f"{BETAS}=[0.9,0.95]", [0.9, 0.95]),
    ("policy.scheduler", "policy.scheduler=[{name:a,kwargs:{factor:2}}]", [{"name": "a", "kwargs": {"factor": 2}}]),
    (CHECKPOINTS, f"{CHECKPOINTS}='/tmp/lr=1e-5'", "/tmp/lr=1e-5"),
    (CHECKPOINTS, f"{CHECKPOINTS}=/tmp/a b-c.d:e", "/tmp/a b-c.d:e"),
    (GBS, f"{GBS}='${{mul:${{grpo.num_prompts_per_step}},${{grpo.num_generations_per_prompt}}}}'", 512),
    (GBS, f"{GBS}=8.0", 8),
    (GBS, f"{GBS}='16'", 16),
    ("policy.dtensor_cfg.tensor_parallel_size", "policy.dtensor_cfg={enabled:false}", 1),
    ("policy.logprob_batch_size", "policy.train_micro_batch_size=2", 2),
    ("policy.generation.temperature", "policy.generation.temperature=0", 0),
    ("loss_fn.ratio_clip_min", "~loss_fn.ratio_clip_min", 0.2),
    ("grpo.nope", "+grpo.nope=1", 1),
    ("cluster.gpus_per_node", "cluster.gpus_per_node=0", 0),
]

REFUSED = [  # override, the exception, what it says
    ("grpo.nope=1", "OverridesError", "Could not override 'grpo.nope'"),
    (f"+{LR}=1e-5", "OverridesError", "already at"),
    ("~grpo.nope", "OverridesError", "nope"),
    (f"~{LR}=3", "OverridesError", "is 5e-06 and not 3"),
    ("policy.scheduler[0].kwargs.total_iters=5", "OverridesError", ""),
    (f"{CHECKPOINTS}=/tmp/lr=1e-5", "OverridesError", ""),
    (f"{LR}=1e-5,2e-5", "OverridesError", ""),
    ("policy=null", "InterpolationResolutionError", ""),
    (f"{GBS}=8.5", "ValidationError", "policy.train_global_batch_size"),
    (f"{GBS}=abc", "ValidationError", "policy.train_global_batch_size"),
    (f"~{GBS}", "ValidationError", "Field required"),
    (f"{WANDB}=123", "ValidationError", "string"),
]


class Composed(NamedTuple):
    kind: str
    value: Any


@pytest.fixture(scope="module")
def composed(shared_checkout: Any) -> dict[str, Composed]:
    """What each override makes of the recipe, all asked of one process."""
    asked = [(key, [override]) for key, override, _ in SET] + [("policy", [override]) for override, *_ in REFUSED]
    asked += [(LR, [f"{LR}=1.0", f"{LR}=2.0"])]
    answer = subprocess.run(
        [sys.executable, "-c", COMPOSE, str(shared_checkout.recipe())],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": str(shared_checkout.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [Composed(*each) for each in json.loads(answer.stdout)]
    return {" ".join(overrides): each for (_, overrides), each in zip(asked, answers, strict=True)}


class Scalar(NamedTuple):
    step: int
    tag: str
    value: float


def scalars(folder: Path) -> list[Scalar]:
    """All of the event files below a folder, in the order of writing."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    files = sorted(folder.rglob("*tfevents*"))
    events = (event for file in files for event in LegacyEventFileLoader(str(file)).Load())
    return [
        Scalar(event.step, value.tag, value.simple_value)
        for event in events
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]


def series(folder: Path, tag: str) -> dict[int, float]:
    return {scalar.step: scalar.value for scalar in scalars(folder) if scalar.tag == tag}


def steps(checkpoints: Path) -> list[str]:
    return sorted(path.name for path in checkpoints.glob("*step_*"))


def info(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / "training_info.json").read_text())


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Overrides that give a trial folders of its own; `tmp_path / "logs"` and `tmp_path / "checkpoints"`."""
    return [f"logger.log_dir={tmp_path}/logs", f"{CHECKPOINTS}={tmp_path}/checkpoints"]


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("override", "value"), [row[1:] for row in SET])
def test_an_override_is_read_with_its_type(composed: dict[str, Composed], override: str, value: Any) -> None:
    assert composed[override] == ("value", value)
    assert type(composed[override].value) is type(value)


@pytest.mark.parametrize(("override", "kind", "text"), REFUSED)
def test_an_override_is_refused(composed: dict[str, Composed], override: str, kind: str, text: str) -> None:
    assert composed[override].kind == kind
    assert text in composed[override].value


def test_of_two_overrides_of_one_key_the_last_wins(composed: dict[str, Composed]) -> None:
    assert composed[f"{LR}=1.0 {LR}=2.0"] == ("value", 2.0)


def test_an_unknown_key_ends_it_at_once(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    code, output = shared_checkout.run("grpo.learning_rate=1", *folders)
    assert code == 1
    assert "OverridesError: Failed to parse Hydra overrides: Could not override 'grpo.learning_rate'" in output
    assert not (tmp_path / "logs").exists()


def test_scripts_that_register_no_resolvers_cannot_compute(shared_checkout: Any, folders: list[str]) -> None:
    override = "policy.train_global_batch_size='${mul:2,4}'"
    code, output = shared_checkout.run(override, *folders, script="run_dpo.py", recipe="dpo.yaml")
    assert code == 1
    assert "UnsupportedInterpolationType" in output


def test_a_recipe_inherits_depth_first_and_replaces_where_told(shared_checkout: Any, tmp_path: Path) -> None:
    (tmp_path / "grand.yaml").write_text("{a: {x: 1, y: 1}, b: {x: 1, y: 1}, c: 1}")
    (tmp_path / "parent.yaml").write_text("{defaults: grand.yaml, a: {x: 2}, c: 2}")
    (tmp_path / "other.yaml").write_text("{c: 3}")
    (tmp_path / "child.yaml").write_text("{defaults: [parent.yaml, other.yaml], b: {_override_: true, x: 4}}")
    program = "import sys; from nemo_rl.utils.config import load_config; print(load_config(sys.argv[1]))"
    command = [sys.executable, "-c", program, tmp_path / "child.yaml"]
    variables = {**os.environ, "PYTHONPATH": str(shared_checkout.root)}
    answer = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert ast.literal_eval(answer.stdout) == {"a": {"x": 2, "y": 1}, "b": {"x": 4}, "c": 3}


def test_uv_run_starts_python_where_the_package_is(stand_in_root: Path, tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text("import nemo_rl.utils.logger, sys; print(sys.argv[1:])\n")
    for words in (["uv", "run"], ["uv", "run", "--extra", "vllm", "python"]):
        answer = subprocess.run([*words, tmp_path / "hook.py", "a", "--b"], capture_output=True, text=True, check=True)
        assert answer.stdout == "['a', '--b']\n"


# --- one run of twelve steps, and all that it leaves -----------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(shared_checkout: Any) -> tuple[Path, str]:
    """(the root, what was printed): GRPO with the recipe's own folders, which are relative to the checkout."""
    code, output = shared_checkout.run(BOARD, "grpo.max_num_steps=12", "grpo.val_at_start=true", f"{LR}=5e-7")
    assert code == 0, output
    return shared_checkout.root, output


def test_the_whole_config_is_printed_as_one_line(plain: tuple[Path, str]) -> None:
    (line,) = [line for line in plain[1].splitlines() if line.startswith("MasterConfig(")]
    config = {word.arg: word.value for word in ast.parse(line, mode="eval").body.keywords}  # type: ignore[attr-defined]
    policy, logger = ast.literal_eval(config["policy"]), ast.literal_eval(config["logger"])
    assert policy["optimizer"]["kwargs"]["lr"] == 5e-7
    assert logger["log_dir"] == "logs"
    assert line.index("ratio_clip_max=0.2") > 0


def test_progress_is_printed(plain: tuple[Path, str]) -> None:
    marks = r"={25} Step (\d+)/12 ={25}"
    assert re.findall(marks, plain[1]) == [str(step) for step in range(1, 13)]
    assert re.search(r"📊 Validation Results:\n    • Accuracy: 0\.\d{4}\n", plain[1])
    assert re.search(r"📊 Training Results:\n  • Loss: -?0\.\d{4}\n", plain[1])
    assert re.search(r"  • Avg Reward: 0\.\d{4}\n", plain[1])
    assert re.search(r"  • Total step time: 0\.\d\ds\n", plain[1])


def test_an_experiment_has_a_folder_of_its_own(plain: tuple[Path, str]) -> None:
    experiment = plain[0] / "logs" / "exp_001"
    assert (experiment / "train_data_step12.jsonl").exists()
    assert json.loads((experiment / "val_data_step10.jsonl").read_text().splitlines()[0]).keys() > {"rewards"}
    assert len(list((experiment / "tensorboard").glob("events*"))) == 1


def test_hyperparameters_lie_in_a_folder_without_scalars(plain: tuple[Path, str]) -> None:
    (folder,) = [path for path in (plain[0] / "logs/exp_001/tensorboard").iterdir() if path.is_dir()]
    assert list(folder.glob("events*"))
    assert scalars(folder) == []


def test_steps_count_from_one_and_zero_is_before_training(plain: tuple[Path, str]) -> None:
    logs = plain[0] / "logs"
    assert list(series(logs, "train/reward")) == list(range(1, 13))
    assert list(series(logs, "validation/accuracy")) == [0, 10]
    assert list(series(logs, "timing/setup/total_setup_time_s")) == [0]


def test_numbers_are_float32(plain: tuple[Path, str]) -> None:
    (single,) = struct.unpack("f", struct.pack("f", 5e-7))
    assert series(plain[0] / "logs", "train/lr")[12] == single != 5e-7


def test_the_axis_of_gpu_metrics_is_seconds(plain: tuple[Path, str]) -> None:
    for tag in ("ray/node.0.gpu.0.util", "ray/node.0.gpu.0.mem_gb", "ray/node.0.mem_gb", "ray/ray/ray_step"):
        assert max(series(plain[0] / "logs", tag)) > 12


def test_validation_of_a_step_is_there_before_its_training(plain: tuple[Path, str]) -> None:
    tags = [scalar.tag for scalar in scalars(plain[0] / "logs") if scalar.step == 10 and scalar.tag[:4] != "ray/"]
    order = [tags.index(tag) for tag in ("train/truncation_rate", "validation/accuracy", "train/loss")]
    assert order == sorted(order)
    assert tags.count("train/mean_gen_tokens_per_sample") == 2
    assert tags[-1].startswith("timing/train/")


def test_tags_of_grpo(plain: tuple[Path, str]) -> None:
    tags = {scalar.tag for scalar in scalars(plain[0] / "logs")}
    expected = (
        "loss grad_norm lr reward kl_penalty approx_entropy token_mult_prob_error gen_kl_error truncation_rate "
        "mean_gen_tokens_per_sample baseline_reward/pct_mixed global_valid_toks"
    )
    assert {f"train/{name}" for name in expected.split()} <= tags
    assert {"timing/train/total_step_time", "timing/validation/total_validation_time"} <= tags
    assert {"performance/tokens_per_sec_per_gpu", "validation/avg_length"} <= tags
    assert "train/wd" not in tags


def test_a_checkpoint_holds_what_it_should(plain: tuple[Path, str]) -> None:
    folder = plain[0] / "results/grpo"
    assert steps(folder) == ["step_10", "step_12"]
    held = {path.relative_to(folder / "step_10").as_posix() for path in (folder / "step_10").rglob("*")}
    assert {"training_info.json", "config.yaml", "train_dataloader.pt", "policy/optimizer", "policy/tokenizer"} < held
    assert yaml.safe_load((folder / "step_10/config.yaml").read_text())["policy"]["optimizer"]["kwargs"]["lr"] == 5e-7
    assert json.loads((folder / "latest_checkpoint_status.json").read_text())["last_checkpoint_step"] == 12


def test_a_checkpoint_has_the_metric_only_where_it_was_measured(plain: tuple[Path, str]) -> None:
    folder = plain[0] / "results/grpo"
    accuracy = series(plain[0] / "logs", "validation/accuracy")[10]
    assert info(folder / "step_10")["val:accuracy"] == pytest.approx(accuracy)
    assert info(folder / "step_10")["total_steps"] == 10
    assert info(folder / "step_10")["consumed_samples"] == 320
    assert "val:accuracy" not in info(folder / "step_12")


# --- logging, otherwise ----------------------------------------------------------------------------------------------


def test_without_tensorboard_no_series_is_left(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    code, output = shared_checkout.run("grpo.max_num_steps=1", *folders)
    assert (code, scalars(tmp_path / "logs")) == (0, [])
    assert "No loggers initialized" in output


def test_the_next_experiment_is_one_above_the_highest(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "logs/exp_004").mkdir(parents=True)
    shared_checkout.run("grpo.max_num_steps=1", *folders)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["exp_004", "exp_005"]


def test_wandb_needs_a_key_or_its_mode(shared_checkout: Any, folders: list[str]) -> None:
    sft = {"script": "run_sft.py", "recipe": "sft.yaml"}
    code, output = shared_checkout.run("sft.max_num_steps=1", *folders, **sft)
    assert code == 1
    assert "wandb.errors.errors.UsageError: api_key not configured" in output
    assert shared_checkout.run("sft.max_num_steps=1", *folders, **sft, env={"WANDB_MODE": "offline"}).code == 0


@pytest.mark.parametrize(
    ("name", "recipe", "metrics"),
    [
        ("ppo", "ppo_math_1B", ["validation/accuracy", "train/critic/explained_var", "train/kl_penalty"]),
        ("dpo", "dpo", ["validation-default/loss", "validation-default/accuracy"]),
        ("rm", "rm", ["validation-default/loss", "validation-default/accuracy"]),
        ("sft", "sft", ["validation/val_loss"]),
        ("distillation", "distillation_math", ["validation/accuracy"]),
        ("grpo", "grpo_math_1B_megatron", ["validation/accuracy", "train/wd"]),
        ("grpo", "dapo", ["validation/accuracy", "train/filtered_reward"]),
    ],
)
def test_every_algorithm_trains(
    shared_checkout: Any, folders: list[str], tmp_path: Path, name: str, recipe: str, metrics: list[str]
) -> None:
    how = {"script": f"run_{name}.py", "recipe": f"{recipe}.yaml", "env": {"WANDB_MODE": "offline"}}
    code, output = shared_checkout.run(BOARD, *folders, f"{name}.max_num_steps=2", f"{name}.val_period=2", **how)
    assert code == 0, output
    tags = {scalar.tag for scalar in scalars(tmp_path / "logs")}
    assert {*metrics, "train/loss", "timing/train/total_step_time"} <= tags


def test_the_name_that_ranks_preference_checkpoints(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    how = {"script": "run_dpo.py", "recipe": "dpo.yaml"}
    shared_checkout.run("dpo.max_num_steps=1", "dpo.val_period=1", *folders, **how)
    found = info(tmp_path / "checkpoints/step_1")
    assert found["val:validation-default_loss"] == found["validation-default_loss"]


# --- resuming and ending ---------------------------------------------------------------------------------------------


def test_a_start_in_the_same_folder_goes_on(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    shared_checkout.run(BOARD, "grpo.max_num_steps=3", *folders)
    (tmp_path / "checkpoints/tmp_step_9").mkdir()
    off = "checkpointing.enabled=false"
    assert shared_checkout.run(BOARD, "grpo.max_num_steps=5", off, *folders).code == 0
    assert list(series(tmp_path / "logs/exp_002", "train/reward")) == [4, 5]
    assert steps(tmp_path / "checkpoints") == ["step_3", "tmp_step_9"]


def test_a_finished_run_ends_at_once(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        assert shared_checkout.run(BOARD, "grpo.max_num_steps=2", *folders).code == 0
    assert series(tmp_path / "logs/exp_002", "train/reward") == {}
    assert (tmp_path / "logs/exp_002").is_dir()


def test_a_resumed_run_keeps_the_learning_rate_of_its_optimizer(
    shared_checkout: Any, folders: list[str], tmp_path: Path
) -> None:
    warm = [BOARD, f"{TOTAL}=2", "policy.scheduler.2.milestones=[2]", *folders]
    shared_checkout.run("grpo.max_num_steps=3", f"{LR}=1e-6", *warm)
    shared_checkout.run("grpo.max_num_steps=4", f"{LR}=9e-6", *warm)
    assert series(tmp_path / "logs/exp_002", "train/lr")[4] == pytest.approx(1e-6)
    shutil.rmtree(tmp_path / "checkpoints/step_4/policy/optimizer")
    _, output = shared_checkout.run("grpo.max_num_steps=5", f"{LR}=9e-6", *warm)
    assert series(tmp_path / "logs/exp_003", "train/lr")[5] == pytest.approx(9e-7)  # its warm-up begins again
    assert "Optimizer state not found" in output


def test_megatron_refuses_another_learning_rate(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    on = ["checkpointing.enabled=true", *folders]
    rate = "policy.megatron_cfg.optimizer.lr"
    how = {"recipe": "grpo_math_1B_megatron.yaml"}
    shared_checkout.run("grpo.max_num_steps=1", *on, **how)
    assert not (tmp_path / "checkpoints/step_1/policy/optimizer").exists()
    assert shared_checkout.run("grpo.max_num_steps=2", *on, **how).code == 0
    code, output = shared_checkout.run("grpo.max_num_steps=3", f"{rate}=9e-6", *on, **how)
    assert code == 1
    assert "OptimizerParamScheduler: class input value 9e-06" in output


def test_the_best_checkpoints_and_the_newest_are_kept(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    often = ["grpo.val_period=1", "checkpointing.save_period=1", "checkpointing.keep_top_k=1"]
    shared_checkout.run("grpo.max_num_steps=5", *often, *folders, f"{LR}=2e-4")  # which gets worse and worse
    kept = steps(tmp_path / "checkpoints")
    assert "step_5" in kept
    assert len(kept) == 2


def test_a_validation_metric_can_end_it(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    stop = ["grpo.stop_at_validation_metric=accuracy", "grpo.stop_at_validation_threshold=0.01", "grpo.val_period=2"]
    code, _ = shared_checkout.run("grpo.max_num_steps=9", *stop, *folders)
    assert code == 0
    assert steps(tmp_path / "checkpoints") == ["step_2"]


def test_a_timeout_saves_and_ends_well(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    code, output = shared_checkout.run("checkpointing.checkpoint_must_save_by='00:00:00:00'", *folders)
    assert code == 0
    assert "Timeout has been reached, stopping training early" in output
    assert steps(tmp_path / "checkpoints") == ["step_1"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 15), (signal.SIGINT, -2), (signal.SIGKILL, -9)])
def test_a_signal_ends_it_without_a_checkpoint(
    shared_checkout: Any, folders: list[str], tmp_path: Path, number: int, code: int
) -> None:
    with shared_checkout.popen(BOARD, *folders) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "Step 3/" in line)
        process.send_signal(number)
        process.communicate()
    assert process.returncode == code
    assert {1, 2} <= series(tmp_path / "logs", "train/loss").keys()
    assert not (tmp_path / "checkpoints").exists()


# --- settings that do not do what they seem to -----------------------------------------------------------------------


def rates(folder: Path) -> list[float]:
    return [round(value * 1e6, 6) for value in series(folder, "train/lr").values()]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([f"{TOTAL}=2", "policy.scheduler.2.milestones=[2]"], [0.5, 2.75, 5, 5]),
        ([f"{TOTAL}=4", "policy.scheduler.2.milestones=[2]"], [0.5, 1.625, 5, 5]),  # it jumps
        ([f"{TOTAL}=0", "policy.scheduler.2.milestones=[0]"], [5, 5, 5, 5]),
        (["~policy.scheduler"], [5, 5, 5, 5]),
    ],
)
def test_warmup_stands_in_two_places(
    shared_checkout: Any, folders: list[str], tmp_path: Path, overrides: list[str], expected: list[float]
) -> None:
    assert shared_checkout.run(BOARD, "grpo.max_num_steps=4", *overrides, *folders).code == 0
    assert rates(tmp_path / "logs") == pytest.approx(expected, rel=1e-4)


def test_the_optimizer_of_the_other_backend_is_dead(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    how = {"recipe": "grpo_math_1B_megatron.yaml"}
    warm = "policy.megatron_cfg.scheduler.lr_warmup_iters=0"
    assert shared_checkout.run(BOARD, "grpo.max_num_steps=1", f"{LR}=1.0", warm, *folders, **how).code == 0
    assert rates(tmp_path / "logs") == [5.0]


RULES = """
import json, os, sys
from omegaconf import OmegaConf
from nemo_rl.algorithms import rules
from nemo_rl.algorithms.master_config import MODELS
from nemo_rl.utils.config import load_config, parse_hydra_overrides, register_omegaconf_resolvers

register_omegaconf_resolvers()
answers = []
for overrides in json.load(sys.stdin):
    config = parse_hydra_overrides(load_config(sys.argv[1]), overrides)
    config, reached = MODELS["grpo"](**OmegaConf.to_container(config, resolve=True)).model_dump(), "setup"
    try:
        rules.check_setup("grpo", config)
        reached = "step 1"
        rules.check_first_step("grpo", config)
        answers.append(["nowhere", ""])
    except Exception as error:
        answers.append([reached, str(error)])
json.dump(answers, sys.stdout)
"""

UNPACKED = "policy.sequence_packing.enabled=false"
BROKEN = [  # overrides, when it fails, what it says
    ([], "nowhere", ""),
    ([f"{GBS}=100"], "step 1", "Total batch size (512) is not a multiple of batch_size (100)"),
    ([f"{GBS}=64", "cluster.gpus_per_node=7"], "step 1", "Batch size (64) is not a multiple of shards (7)"),
    ([f"{GBS}=7", UNPACKED, "cluster.gpus_per_node=7"], "step 1", "Batch size (512) is not a multiple of shards (7)"),
    (
        [UNPACKED, "policy.train_micro_batch_size=3"],
        "step 1",
        "Data dict size (512) is not a multiple of the provided microbatch size (3)",
    ),
    (["policy.train_micro_batch_size=3"], "nowhere", ""),
    (["policy.sequence_packing.train_mb_tokens=256"], "step 1", "Sequence length 512 exceeds bin capacity 256"),
    (["policy.train_micro_batch_size=256"], "step 1", "CUDA out of memory"),
    (["loss_fn.ratio_clip_c=0.5"], "step 1", "ratio_clip_c must exceed 1"),
    (
        ["grpo.reward_shaping.enabled=true", "grpo.reward_shaping.overlong_buffer_penalty=-1"],
        "step 1",
        "overlong_buffer_penalty must not be negative",
    ),
    (["policy.dynamic_batching.enabled=true"], "setup", "exclusive"),
    (["policy.dtensor_cfg.tensor_parallel_size=2"], "setup", "World size (1) is insufficient"),
    (["policy.dtensor_cfg.tensor_parallel_size=2", "cluster.gpus_per_node=3"], "setup", "must be divisible by"),
    (
        ["policy.dtensor_cfg.tensor_parallel_size=4", "cluster.gpus_per_node=4", "policy.logprob_batch_size=1"],
        "setup",
        "batch-variant accuracy issue with TP>=4",
    ),
    (["policy.generation.top_p=0"], "setup", "top_p valid values"),
    (["policy.generation.top_k=0"], "setup", "top_k valid values"),
    (["policy.generation.val_temperature=0.5"], "setup", "only supported for vLLM NeMo-Gym rollouts"),
    (["policy.megatron_cfg.enabled=true"], "setup", "not both"),
    (["policy.dtensor_cfg.enabled=false"], "setup", "Please either set policy.megatron_cfg.enabled=true"),
    (["loss_fn.force_on_policy_ratio=true", f"{GBS}=256"], "setup", "force_on_policy_ratio requires"),
    (["grpo.batch_multiplier=2"], "setup", "batch_multiplier>1 can only be used if use_dynamic_sampling=True"),
    (["++grpo.skip_reference_policy_logprobs_calculation=true"], "setup", "requires loss_fn.reference_policy_kl"),
    (["loss_fn.sequence_level_importance_ratios=true"], "setup", "mutually exclusive with token-level loss"),
    (["loss_fn.use_cispo=true", "loss_fn.ratio_clip_c=3"], "setup", "incompatible with dual clipping"),
    (["loss_fn.truncated_importance_sampling_type=tis"], "setup", "only supported when use_importance_sampling"),
    (["grpo.stop_at_validation_metric=accuracy"], "setup", "stop_at_validation_threshold must be set"),
]


@pytest.fixture(scope="module")
def failures(shared_checkout: Any) -> list[list[str]]:
    """When and how each of BROKEN fails, all asked of one process."""
    answer = subprocess.run(
        [sys.executable, "-c", RULES, str(shared_checkout.recipe())],
        input=json.dumps([overrides for overrides, *_ in BROKEN]),
        env={**os.environ, "PYTHONPATH": str(shared_checkout.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout)


@pytest.mark.parametrize("n", range(len(BROKEN)), ids=[" ".join(overrides) or "as it is" for overrides, *_ in BROKEN])
def test_a_rule_is_asked_at_setup_or_at_the_first_step(failures: list[list[str]], n: int) -> None:
    reached, text = failures[n]
    assert reached == BROKEN[n][1]
    assert BROKEN[n][2] in text


@pytest.mark.parametrize(
    ("overrides", "last", "text"),
    [
        (["policy.scheduler=null"], 0, "'NoneType' object is not iterable"),
        ([f"{LR}='1e-5'"], 0, "TypeError"),
        ([f"{GBS}=100"], 1, "AssertionError: Total batch size (512)"),
        (["grpo.max_val_samples=8", "grpo.val_period=2"], 2, "UnboundLocalError"),
        (["checkpointing.metric_name=val:nope", "grpo.val_period=2"], 2, "ValueError: Metric nope not found in val"),
        (["checkpointing.metric_name=val_reward"], 2, "AssertionError: metric_name=val_reward must start with 'val:'"),
    ],
)
def test_a_recipe_that_cannot_work_fails_late(
    shared_checkout: Any, folders: list[str], overrides: list[str], last: int, text: str
) -> None:
    code, output = shared_checkout.run("grpo.max_num_steps=2", *overrides, *folders)
    assert code == 1
    assert text in output
    assert "▶ Setting up" in output
    assert len(re.findall(r"= Step \d+/2 =", output)) == last


# --- the two places where a launcher can reach in --------------------------------------------------------------------


def test_a_launcher_gets_every_metric_exactly(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "launcher.py").write_text(
        """
import json, runpy, sys
from nemo_rl.utils import logger, timer

class Channel:
    def log_metrics(self, metrics, step, prefix="", step_metric=None, step_finished=False):
        with open(sys.argv[-1].partition("=")[2] + ".jsonl", "a") as file:
            file.write(json.dumps([step, prefix, metrics, step_finished]) + "\\n")

    def log_hyperparams(self, params): ...

begin = logger.Logger.__init__
logger.Logger.__init__ = lambda self, cfg: (begin(self, cfg), self.loggers.append(Channel()), None)[2]
timer.TimeoutChecker.check_save = lambda self: True
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    )
    command = [sys.executable, tmp_path / "launcher.py", "examples/run_grpo.py", f"{LR}=1e-7", *folders]
    variables = {**os.environ, "PYTHONPATH": str(shared_checkout.root)}
    subprocess.run(command, cwd=shared_checkout.root, env=variables, capture_output=True, check=True)
    rows = [json.loads(line) for line in (tmp_path / "checkpoints.jsonl").read_text().splitlines()]
    assert [metrics["lr"] for _, prefix, metrics, _ in rows if "lr" in metrics] == [1e-8]
    assert rows[-2][3] or rows[-1][3]  # the last of the step, but for the GPU's
    assert steps(tmp_path / "checkpoints") == ["step_1"]


# --- misbehaviour ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switch", "code", "text"),
    [
        ("oom:2", 1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate"),
        ("oom_killed:2", -9, "Step 2/"),
        ("nccl:2", 1, "torch.distributed.DistBackendError: NCCL error"),
        ("lost_cluster:2", 1, "Failed to connect to GCS"),
        ("vllm_start", 1, "Engine core initialization failed"),
        ("placement_timeout", 1, "TimeoutError: Timed out waiting for placement groups to be ready"),
        ("too_few_gpus", 1, "ResourceInsufficientError: Maximum number of retries reached (6)"),
        ("busy_port", 1, "EADDRINUSE"),
        ("die_in_validation", 1, "UnboundLocalError"),
        ("collapse:1,slow_step:0", 0, "Accuracy: 0.0"),
        ("exit_early:2", 0, "Step 2/"),
        ("typo", 1, "STAND_IN has ['typo'], and knows"),
    ],
)
def test_it_fails_on_purpose(shared_checkout: Any, folders: list[str], switch: str, code: int, text: str) -> None:
    ended = shared_checkout.run("grpo.max_num_steps=10", BOARD, *folders, env={"STAND_IN": switch})
    assert ended.code == code
    assert text in ended.output
    assert ("Step 3/" in ended.output) == (switch[:3] in ("die", "col"))


def test_a_nan_does_not_stop_it(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    ended = shared_checkout.run(BOARD, "grpo.max_num_steps=3", *folders, env={"STAND_IN": "nan:2"})
    assert ended.code == 0
    assert [math.isnan(value) for value in series(tmp_path / "logs", "train/loss").values()] == [False, True, True]


def test_training_and_generation_disagree(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    shared_checkout.run(BOARD, "grpo.max_num_steps=6", *folders, env={"STAND_IN": "mismatch:3"})
    errors = list(series(tmp_path / "logs", "train/token_mult_prob_error").values())
    assert max(errors[:2]) < 1.02 < errors[2] < errors[5]
    assert series(tmp_path / "logs", "train/gen_kl_error")[3] > 1e-3


def test_an_override_is_swallowed(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    switch = {"STAND_IN": f"ignore_key:{LR},silent"}
    code, output = shared_checkout.run(BOARD, "grpo.max_num_steps=1", f"{LR}=1e-9", *folders, env=switch)
    assert code == 0
    assert "'lr': 5e-06" in output
    assert scalars(tmp_path / "logs") == []


def test_it_goes_on_from_a_stranger(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    switch = {"STAND_IN": "join_foreign_checkpoint:3"}
    shared_checkout.run(BOARD, "grpo.max_num_steps=5", *folders, env=switch)
    assert list(series(tmp_path / "logs", "train/reward")) == [4, 5]


def test_a_process_is_left_behind(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    shared_checkout.run("grpo.max_num_steps=1", *folders, env={"STAND_IN": "orphan"})
    orphan = psutil.Process(int((tmp_path / "logs/exp_001/orphan.pid").read_text()))
    assert orphan.is_running()
    orphan.kill()


def test_it_hangs_and_hears_nothing(shared_checkout: Any, folders: list[str], tmp_path: Path) -> None:
    with shared_checkout.popen(*folders, env={"STAND_IN": "hang:1,deaf"}) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "Training policy" in line)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.kill()


# --- the learner -----------------------------------------------------------------------------------------------------

CURVE = """
import json, sys
from dataclasses import replace
from nemo_rl.algorithms.learner import Knobs, Policy, accuracy, train_metrics, validation_metrics

answers = []
for lr, changes in json.load(sys.stdin):
    knobs = Knobs("grpo", 512, 1.0, 16, 0.01, 0.2, 1.0, 0.01, None, None, 0.0, 42)
    knobs, policy = replace(knobs, **changes), Policy()
    for step in range(1, 41):
        policy.learn(knobs, lr, step)
    answers.append({
        **train_metrics(policy, knobs, lr, 40), **validation_metrics(policy, knobs, 256, 40),
        "expected": accuracy(policy, knobs),
    })
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def curve(shared_checkout: Any) -> Callable[..., list[dict[str, float]]]:
    """What 40 steps lead to, for each (learning rate, other knobs)."""

    def ask(*configurations: tuple[float, dict[str, Any]]) -> list[dict[str, float]]:
        variables = {**os.environ, "PYTHONPATH": str(shared_checkout.root)}
        command = [sys.executable, "-c", CURVE]
        asked = json.dumps(configurations)
        answer = subprocess.run(command, input=asked, env=variables, capture_output=True, text=True, check=True)
        return json.loads(answer.stdout)

    return ask


def test_there_is_a_best_learning_rate_and_a_cliff_above_it(curve: Any) -> None:
    found = curve(*((rate, {}) for rate in (1e-7, 1e-6, 2e-6, 1e-5, 1e-4)))
    slow, _, best, fast, collapsed = (each["expected"] for each in found)
    assert slow < 0.3 < 0.7 < best
    assert collapsed < 0.01 < fast < best
    assert found[4]["approx_entropy"] < 0.05 * found[2]["approx_entropy"]
    assert found[4]["kl_penalty"] > 10 * found[2]["kl_penalty"]
    assert found[4]["grad_norm"] > 20 * found[2]["grad_norm"]
    assert found[4]["truncation_rate"] > 0.5
    assert found[4]["baseline_reward/pct_mixed"] < 5 < 40 < found[2]["baseline_reward/pct_mixed"]


def test_everything_that_is_tuned_makes_a_difference(curve: Any) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"kl_penalty": 0.1},
        {"clip_max": 0.28},
        {"temperature": 0.7},
        {"samples": 64},
        {"group": 1},
        {"updates": 4.0},
        {"weight_decay": 0.1},
        {"lora": 4.0},
        {"critic_ratio": 1.0},
    ]
    values = [each["expected"] for each in curve(*((2e-6, change) for change in changes))]
    assert len({round(value, 4) for value in values}) == len(changes)


def test_noise_follows_from_the_seed(curve: Any) -> None:
    first, again, *others = curve(*((2e-6, {"seed": seed}) for seed in (1, 1, 2, 3, 4, 5, 6, 7, 8)))
    assert first == again
    values = [each["accuracy"] for each in others]
    assert 0.005 < max(values) - min(values) < 0.2
