"""Setup and the training loop, one for all algorithms: what is printed, logged and saved, and in which order."""

from __future__ import annotations

import json
import math
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nemo_rl import misbehaviour
from nemo_rl.algorithms import learner, rules
from nemo_rl.algorithms.learner import Knobs, Policy
from nemo_rl.algorithms.optimizer import Optimizer, on_megatron
from nemo_rl.utils.checkpoint import CheckpointManager, resume_paths
from nemo_rl.utils.logger import Logger
from nemo_rl.utils.timer import TimeoutChecker

STEPS_PER_EPOCH = 2000
ROWS = 4
"""Samples in each `train_data_stepN.jsonl` and `val_data_stepN.jsonl`."""

GPU_SECONDS = 10
"""What a step counts on the clock of the GPU metrics, whose axis is seconds."""


@dataclass
class Run:
    """What one start of a script works with.

    Attributes:
        progress: `total_steps`, `epoch`, `consumed_samples`, `total_valid_tokens`; what `training_info.json` says.
        val_metrics: Of the validation of the step at work, by the names that `checkpointing.metric_name` uses.
    """

    algorithm: str
    master: Any
    config: dict[str, Any]
    logger: Logger
    checkpointer: CheckpointManager
    policy: Policy
    optimizer: Optimizer
    knobs: Knobs
    progress: dict[str, int]
    val_metrics: dict[str, float] = field(default_factory=dict)

    @property
    def section(self) -> dict[str, Any]:
        return self.config[self.algorithm]

    @property
    def last_step(self) -> int:
        steps, by_epochs = self.section["max_num_steps"], self.section["max_num_epochs"] * STEPS_PER_EPOCH
        return by_epochs if steps < 0 else min(steps, by_epochs)


def setup(algorithm: str, master: Any) -> Run:
    """Check the recipe, load the newest checkpoint of its directory, log how long it took."""
    began = time.perf_counter()
    print("\n▶ Setting up compute cluster...", flush=True)
    logger = Logger(_silenced(master.logger))
    logger.log_hyperparams(master.model_dump())
    checkpointer = CheckpointManager(master.checkpointing)
    config = master.model_dump()
    rules.check_setup(algorithm, config)
    print("\n▶ Setting up model and training...", flush=True)
    optimizer = Optimizer(config["policy"], doubled=algorithm in ("dpo", "rm"))
    critic = Optimizer(config["value"]) if algorithm == "ppo" else None
    policy, progress = _resumed(checkpointer, optimizer)
    knobs = learner.knobs(algorithm, config, optimizer.lr, critic and critic.lr)
    logger.log_metrics({"total_setup_time_s": time.perf_counter() - began}, step=0, prefix="timing/setup")
    print("\n" + "=" * 60 + "\n" + " " * 18 + "SETUP COMPLETE\n" + "=" * 60 + "\n", flush=True)
    return Run(algorithm, master, config, logger, checkpointer, policy, optimizer, knobs, progress)


def train(run: Run) -> None:
    """Train to the last step, a timeout or the wanted validation metric; whatever is being saved is waited for."""
    with run.checkpointer:
        timeout = TimeoutChecker(run.config["checkpointing"].get("checkpoint_must_save_by"), fit_last_save_time=True)
        timeout.start_iterations()
        before = run.progress["total_steps"]
        if run.section["val_at_start"] and before == 0:
            print("\n🔍 Running initial validation...", flush=True)
            _validate(run, 0)
            if _good_enough(run):
                return
        for step in range(before + 1, run.last_step + 1):
            if step == before + 1 or step % STEPS_PER_EPOCH == 1:
                epoch, epochs = (step - 1) // STEPS_PER_EPOCH + 1, run.section["max_num_epochs"]
                print(f"\n{'=' * 25} Epoch {epoch}/{epochs} {'=' * 25}")
            number = (step - 1) % STEPS_PER_EPOCH + 1
            print(f"\n{'=' * 25} Step {number}/{min(STEPS_PER_EPOCH, run.last_step)} {'=' * 25}", flush=True)
            if step == before + 1:
                rules.check_first_step(run.algorithm, run.config)
            stop = _step(run, step, timeout)
            misbehaviour.after_step(step)
            if stop:
                print(stop, flush=True)
                return


def _step(run: Run, step: int, timeout: TimeoutChecker) -> str | None:
    """One step, and the reason to stop after it, if any."""
    began = time.perf_counter()
    print("▶ Preparing batch...\n▶ Training policy...", flush=True)
    misbehaviour.at_step(step)
    lr = run.optimizer.rate()
    run.policy.learn(run.knobs, lr, step)
    run.optimizer.ticks += run.section.get("ppo_epochs", 1)
    trained = time.perf_counter() - began
    metrics = learner.train_metrics(run.policy, run.knobs, lr, step)
    if on_megatron(run.config["policy"]):
        metrics["wd"] = run.optimizer.weight_decay
    if run.algorithm in ("grpo", "ppo"):
        metrics |= _sampled(run, metrics)
    early = {name: metrics[name] for name in learner.ROLLOUT_METRICS if name in metrics}
    if early:  # known once the answers are there, and logged again with the rest
        run.logger.log_metrics(early, step, prefix="train")
    run.val_metrics = {}
    if _validates(run, step):
        _validate(run, step)
    run.progress["consumed_samples"] += run.section.get("num_prompts_per_step", run.knobs.samples)
    run.progress["total_valid_tokens"] += int(metrics["global_valid_toks"])
    timeout.mark_iteration()
    enough, late = _good_enough(run), timeout.check_save()
    saving = time.perf_counter()
    if run.config["checkpointing"]["enabled"] and (enough or late or _saves(run, step)):
        _save(run, step, metrics)
    saved = time.perf_counter() - saving
    _log(run, step, metrics, {"policy_training": trained, "checkpointing": saved}, time.perf_counter() - began)
    if enough:
        return f"Stopping early: {run.section['stop_at_validation_metric']} has reached the threshold"
    if late:
        return "Timeout has been reached, stopping training early"
    return "Max number of steps has been reached, stopping training early" if step == run.last_step else None


def _sampled(run: Run, metrics: dict[str, float]) -> dict[str, float]:
    """What becomes of the reward: prompts without variance are left out where asked for, then it is scaled.

    Raises:
        ValueError: Too many batches would have to be generated until enough prompts have variance.
    """
    section, reward = run.section, metrics["reward"]
    found: dict[str, float] = {}
    if section["use_dynamic_sampling"]:
        mixed = max(1e-9, metrics["baseline_reward/pct_mixed"] / 100) * section["batch_multiplier"]
        batches, most = math.ceil(1 / mixed), section["dynamic_sampling_max_gen_batches"]
        if batches > most:
            raise ValueError(f"Dynamic sampling has reached the maximum allowed number of batches ({most}).")
        found = {"dynamic_sampling_num_gen_batches": batches, "filtered_reward": 0.5 + (reward - 0.5) / 2}
    scaling = section["reward_scaling"]
    if scaling["enabled"]:
        share = (reward - scaling["source_min"]) / (scaling["source_max"] - scaling["source_min"])
        found["reward"] = scaling["target_min"] + share * (scaling["target_max"] - scaling["target_min"])
    return found


def _log(run: Run, step: int, metrics: dict[str, float], timing: dict[str, float], total: float) -> None:
    rollouts = run.algorithm in ("grpo", "ppo")
    if rollouts:
        rows = {"content": ["..."] * ROWS, "rewards": [metrics["reward"]] * ROWS, "input_lengths": [200] * ROWS}
        run.logger.log_batched_dict_as_jsonl(rows, f"train_data_step{step}.jsonl")
    print(f"\n📊 Training Results:\n  • Loss: {metrics['loss']:.4f}")
    if rollouts:
        print(f"  • Generation KL Error: {metrics['gen_kl_error']:.4f}\n  • Avg Reward: {metrics['reward']:.4f}")
        print(f"  • Mean Generation Length: {metrics['mean_gen_tokens_per_sample']:.4f}")
    print(f"\n⏱️  Timing:\n  • Total step time: {total:.2f}s", flush=True)
    gpus = run.config["cluster"]["num_nodes"] * run.config["cluster"]["gpus_per_node"]
    run.logger.log_metrics(metrics, step, prefix="train")
    if rollouts:
        speed = {
            "tokens_per_sec_per_gpu": metrics["global_valid_toks"] / total / gpus,
            "samples_per_sec": run.knobs.samples / total,
        }
        run.logger.log_metrics(speed, step, prefix="performance")
    timing = {"total_step_time": total, **timing}
    run.logger.log_metrics(timing, step, prefix="timing/train", step_finished=True)
    if run.config["logger"]["monitor_gpus"]:
        usage = {"node.0.gpu.0.util": 80.0, "node.0.gpu.0.mem_gb": _memory(run), "node.0.mem_gb": 60.0}
        seconds = GPU_SECONDS * step
        run.logger.log_metrics({**usage, "ray/ray_step": seconds}, seconds, prefix="ray", step_metric="ray/ray_step")


def _memory(run: Run) -> float:
    """GPU memory in GB: the model, a reference where there is a KL penalty, and what a micro batch takes."""
    policy = run.config["policy"]
    tokens = policy["train_micro_batch_size"] * policy["max_total_sequence_length"]
    return 12.0 + (4.0 if run.knobs.kl_penalty > 0 else 0.0) + 60.0 * tokens / rules.GPU_TOKENS


def _validates(run: Run, step: int) -> bool:
    period, first = run.section["val_period"], run.section.get("val_start_at", -1)
    if run.section["val_at_end"] and step == run.last_step:
        return True
    return period > 0 and step >= first and step % period == 0


def _validate(run: Run, step: int) -> None:
    began = time.perf_counter()
    print(f"▶ Starting validation at step {step}...", flush=True)
    misbehaviour.in_validation(step)
    found = learner.validation_metrics(run.policy, run.knobs, _validation_samples(run.section), step)
    times = {"total_validation_time": time.perf_counter() - began}
    print("\n📊 Validation Results:")
    if run.algorithm in ("dpo", "rm"):
        run.logger.log_metrics(found, step, prefix="validation-default")
        run.logger.log_metrics(times, step, prefix="timing/validation-default")
        run.logger.log_metrics(times, step, prefix="timing/validation")
        run.val_metrics = {f"validation-default_{name}": value for name, value in found.items()}
        print(f"    • Validation loss: {found['loss']:.4f}\n    • Validation accuracy: {found['accuracy']:.4f}")
        return
    if run.algorithm == "sft":
        print(f"    • Validation loss: {found['val_loss']:.4f}", flush=True)
    else:
        print(f"    • Accuracy: {found['accuracy']:.4f}")
        print(f"    • Average response length: {found['avg_length']:.1f} tokens", flush=True)
        rows = {"content": ["..."] * ROWS, "rewards": [found["accuracy"]] * ROWS}
        run.logger.log_batched_dict_as_jsonl(rows, f"val_data_step{step}.jsonl")
        if run.section["val_num_generations_per_prompt"] > 1:
            found["pass_k"] = 1 - (1 - found["accuracy"]) ** run.section["val_num_generations_per_prompt"]
    run.logger.log_metrics(times, step, prefix="timing/validation")
    run.logger.log_metrics(found, step, prefix="validation")
    run.val_metrics = found


def _validation_samples(section: dict[str, Any]) -> int:
    """How many answers: whole batches only."""
    if "val_batches" in section:
        batches = section["val_batches"] if section["val_batches"] > 0 else 64
        return batches * section["val_global_batch_size"]
    batches = section["max_val_samples"] // section["val_batch_size"]
    if batches == 0:
        name = "additional_metrics_to_report"
        raise UnboundLocalError(f"cannot access local variable '{name}' where it is not associated with a value")
    return batches * section["val_batch_size"] * section["val_num_generations_per_prompt"]


def _good_enough(run: Run) -> bool:
    wanted = run.section.get("stop_at_validation_metric")
    if wanted is None or not run.val_metrics:
        return False
    assert wanted in run.val_metrics, (
        f"grpo.stop_at_validation_metric={wanted!r} is not a reported validation metric; "
        f"available: {sorted(run.val_metrics)}"
    )
    return run.val_metrics[wanted] >= run.section["stop_at_validation_threshold"]


def _saves(run: Run, step: int) -> bool:
    settings = run.config["checkpointing"]
    often = settings.get("ft_save_period")
    return step == run.last_step or step % settings["save_period"] == 0 or (often and step % often == 0)


def _save(run: Run, step: int, metrics: dict[str, float]) -> None:
    info = _training_info(run, step, metrics)
    run.checkpointer.finalize_pending()
    print(f"Saving checkpoint for step {step}...", flush=True)
    folder = run.checkpointer.init_tmp_checkpoint(step, info, run.master)
    parts = ("policy", "value") if run.algorithm == "ppo" else ("policy",)
    for part in parts:
        _save_model(run, folder / part)
    (folder / "train_dataloader.pt").write_bytes(b"")
    run.checkpointer.begin_finalization(folder)
    if run.algorithm == "grpo":
        status = {"last_successful_ckpt_save_completion": time.time(), "last_checkpoint_step": step}
        (run.checkpointer.checkpoint_dir / "latest_checkpoint_status.json").write_text(json.dumps(status))


def _save_model(run: Run, folder: Path) -> None:
    for name in ("weights", "tokenizer"):
        (folder / name).mkdir(parents=True)
    (folder / "weights" / "model.json").write_text(json.dumps(asdict(run.policy)))
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    if not run.checkpointer.save_optimizer:
        return
    inside = folder / "weights" / "iter_0000000" / "common.pt"
    run.optimizer.save(inside if run.optimizer.megatron else folder / "optimizer" / "state.json")


def _training_info(run: Run, step: int, metrics: dict[str, float]) -> dict[str, Any]:
    """Beside the counters, the metric that ranks checkpoints, under its full name, where it was measured."""
    info: dict[str, Any] = {
        "consumed_samples": run.progress["consumed_samples"],
        "total_steps": step,
        "total_valid_tokens": run.progress["total_valid_tokens"],
    }
    position, epoch = (step - 1) % STEPS_PER_EPOCH + 1, (step - 1) // STEPS_PER_EPOCH
    if run.algorithm in ("grpo", "ppo", "distillation"):
        info |= {"current_step": position, "current_epoch": epoch}
        if run.val_metrics:
            info["val_reward"] = run.val_metrics["accuracy"]
    else:
        info |= {"step": position, "epoch": epoch, **run.val_metrics}
    full = run.config["checkpointing"]["metric_name"]
    if full is None:
        return info
    assert full.startswith(("train:", "val:")), (
        f"metric_name={full} must start with 'val:' or 'train:',\n"
        'followed by the corresponding name in the "val" or "train" metrics dictionary.'
    )
    prefix, name = full.split(":", 1)
    source = metrics if prefix == "train" else run.val_metrics
    if not source:
        message = f"You asked to save checkpoints based on {name} but no {prefix} metrics were collected."
        warnings.warn(message, stacklevel=2)
    elif name not in source:
        raise ValueError(f"Metric {name} not found in {prefix} metrics")
    else:
        info[full] = source[name]
    return info


def _resumed(checkpointer: CheckpointManager, optimizer: Optimizer) -> tuple[Policy, dict[str, int]]:
    """The policy and the counters of the newest checkpoint, or of a beginning; fills in the optimizer's state."""
    progress = {"total_steps": 0, "consumed_samples": 0, "total_valid_tokens": 0}
    if "join_foreign_checkpoint" in misbehaviour.SWITCHES:
        steps = int(misbehaviour.SWITCHES["join_foreign_checkpoint"] or 5)
        return Policy(skill=0.5), {**progress, "total_steps": steps}
    checkpoint = checkpointer.get_latest_checkpoint_path()
    info = checkpointer.load_training_info(checkpoint)
    if checkpoint is None or info is None:
        return Policy(), progress
    weights, state = resume_paths(checkpoint)
    assert weights is not None
    if state is not None:
        optimizer.load(state if state.is_file() else state / "state.json")
    return Policy(**json.loads((weights / "model.json").read_text())), {name: info[name] for name in progress}


def _silenced(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "tensorboard_enabled": False} if "silent" in misbehaviour.SWITCHES else settings
