"""Trains a tiny transformer to sort digits with GRPO, for `rltune` or for anyone else.

    rltune run study.yaml                                                   calls `train(config, trial)`
    python train.py --config config.yaml policy.optimizer.kwargs.lr=1e-3    the same run from the command line

Here are the configuration, the loop, the checkpoints and the two entries; the algorithm is in `grpo.py`.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

import grpo
import torch
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

HERE = Path(__file__).parent

# --- Configuration ----------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    text: str
    holds: Callable[[Any], bool]


ANY = Rule("anything", lambda _: True)
AT_LEAST_0 = Rule("at least 0", lambda x: x >= 0)
AT_LEAST_1 = Rule("at least 1", lambda x: x >= 1)
AT_LEAST_2 = Rule("at least 2", lambda x: x >= 2)
ABOVE_0 = Rule("above 0", lambda x: x > 0)
BELOW_1 = Rule("at least 0 and below 1", lambda x: 0 <= x < 1)
SCHEDULE = Rule("constant or cosine", lambda x: x in {"constant", "cosine"})


def key(path: str, rule: Rule = ANY) -> Any:
    """Where a field stands in the nested configuration, and what it may be."""
    return field(metadata={"path": path, "rule": rule})


@dataclass(frozen=True)
class Config:
    """One run. The values are in config.yaml and nowhere else."""

    train_global_batch_size: int = key("policy.train_global_batch_size", AT_LEAST_1)
    max_grad_norm: float = key("policy.max_grad_norm", ABOVE_0)
    lr: float = key("policy.optimizer.kwargs.lr", AT_LEAST_0)
    weight_decay: float = key("policy.optimizer.kwargs.weight_decay", AT_LEAST_0)
    beta1: float = key("policy.optimizer.kwargs.beta1", BELOW_1)
    beta2: float = key("policy.optimizer.kwargs.beta2", BELOW_1)
    eps: float = key("policy.optimizer.kwargs.eps", ABOVE_0)
    schedule: str = key("policy.scheduler.name", SCHEDULE)
    warmup_steps: int = key("policy.scheduler.warmup_steps", AT_LEAST_0)
    temperature: float = key("policy.generation.temperature", ABOVE_0)
    kl_penalty: float = key("loss_fn.reference_policy_kl_penalty", AT_LEAST_0)
    ratio_clip_min: float = key("loss_fn.ratio_clip_min", AT_LEAST_0)
    ratio_clip_max: float = key("loss_fn.ratio_clip_max", AT_LEAST_0)
    entropy_coef: float = key("loss_fn.entropy_coef")
    format_bonus: float = key("env.format_bonus")
    seed: int = key("grpo.seed", AT_LEAST_0)
    num_prompts_per_step: int = key("grpo.num_prompts_per_step", AT_LEAST_1)
    num_generations_per_prompt: int = key("grpo.num_generations_per_prompt", AT_LEAST_2)
    ppo_epochs: int = key("grpo.ppo_epochs", AT_LEAST_1)
    normalize_rewards: bool = key("grpo.normalize_rewards")
    use_leave_one_out_baseline: bool = key("grpo.use_leave_one_out_baseline")
    max_samples: int = key("grpo.max_samples", AT_LEAST_1)
    val_period: int = key("grpo.val_period", AT_LEAST_1)
    checkpointing: bool = key("checkpointing.enabled")
    checkpoint_dir: str = key("checkpointing.checkpoint_dir")
    save_period: int = key("checkpointing.save_period", AT_LEAST_1)

    @property
    def samples_per_step(self) -> int:
        return self.num_prompts_per_step * self.num_generations_per_prompt

    @property
    def steps(self) -> int:
        return self.max_samples // self.samples_per_step


KEYS = {entry.metadata["path"]: entry for entry in fields(Config)}


def read_config(nested: Mapping[str, Any]) -> Config:
    """Checks a complete nested configuration.

    Raises:
        ValueError: With every unknown, missing or ill-typed key, or else every broken rule.
    """
    given = flatten(nested)
    complaints = [unknown_key(path) for path in given if path not in KEYS]
    complaints += [f"{path} is missing" for path in KEYS if path not in given]
    values = {}
    for path in KEYS.keys() & given.keys():
        entry = KEYS[path]
        try:
            values[entry.name] = as_type(given[path], entry.type)
        except TypeError as error:
            complaints.append(f"{path} must be {error}, got {given[path]!r}")
    raise_all(complaints)
    config = Config(**values)
    raise_all(broken_rules(config))
    return config


def flatten(nested: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}."""
    flat = {}
    for name, value in nested.items():
        flat |= flatten(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return flat


def as_type(value: Any, type_name: str) -> Any:
    """The value as a plain bool, int, float or str; a whole number may stand for a float, nothing else for another.

    Raises:
        TypeError: With what was expected.
    """
    match type_name:
        case "bool" if isinstance(value, bool):
            return value
        case "int" if isinstance(value, Integral) and not isinstance(value, bool):
            return int(value)
        case "float" if isinstance(value, Real) and not isinstance(value, bool):
            return float(value)
        case "str" if isinstance(value, str):
            return str(value)
    raise TypeError({"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}[type_name])


def unknown_key(path: str) -> str:
    nearest = difflib.get_close_matches(path, KEYS, n=1, cutoff=0.0)[0]
    return f"unknown key {path}; did you mean {nearest}?"


def broken_rules(config: Config) -> list[str]:
    """What no run can have, found before it starts."""
    broken = []
    for path, entry in KEYS.items():
        value, rule = getattr(config, entry.name), entry.metadata["rule"]
        if not rule.holds(value):
            broken.append(f"{path} must be {rule.text}, got {value!r}")
    if broken:
        return broken
    batch = ("policy.train_global_batch_size", config.train_global_batch_size)
    step = ("grpo.num_prompts_per_step * grpo.num_generations_per_prompt", config.samples_per_step)
    period = ("grpo.val_period", config.val_period)
    multiples = [(step, batch), (period, step), (("grpo.max_samples", config.max_samples), period)]
    if config.checkpointing:
        multiples.append((("checkpointing.save_period", config.save_period), period))
    return [
        f"{whole} ({n}) must be a multiple of {part} ({divisor})"
        for (whole, n), (part, divisor) in multiples
        if n % divisor
    ]


def raise_all(complaints: Sequence[str]) -> None:
    if complaints:
        raise ValueError("; ".join(complaints))


# --- The run ----------------------------------------------------------------------------------------------------------


class Trial(Protocol):
    """What a run is told, and whom it reports to. `rltune` hands one in."""

    seed: int
    directory: Path
    resume_from: Path | None

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: Path | None = None) -> None:
        """Takes the metrics at a step; raises a `BaseException` when the run is to end here."""


@dataclass
class State:
    """All that changes during a run, and so all that a checkpoint holds."""

    policy: grpo.Policy
    optimizer: torch.optim.AdamW
    generator: torch.Generator  # the only source of randomness: prompts, tokens, minibatches
    step: int  # GRPO steps done
    samples: int  # completions trained on
    metrics: dict[str, float]  # of the last report


def train(config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
    """Runs the whole budget of a complete configuration with the seed of the trial; returns the last metrics.

    Reports every `grpo.val_period` samples. The step of a report is the number of samples, not of GRPO steps: runs
    of different batch shapes spend the same budget in a different number of steps, and a pruner that compares two
    runs at one step must compare equal budgets. Hence the rule that a period holds a whole number of GRPO steps.

    Raises:
        ValueError: If the configuration is not one that can be trained.
    """
    return run(read_config(config), trial)


def run(config: Config, trial: Trial) -> dict[str, float]:
    torch.set_num_threads(1)  # trials run side by side, and one thread makes a seed mean the same bits everywhere
    prompts = grpo.split_prompts()
    base = grpo.load_base(prompts.training)
    reference = copy.deepcopy(base).requires_grad_(requires_grad=False)
    state = start(base, config, trial.seed)
    if trial.resume_from is not None:
        restore(state, trial.resume_from)
    history: dict[str, list[float]] = defaultdict(list)
    while state.samples < config.max_samples:
        for name, values in grpo_step(state, reference, prompts.training, config).items():
            history[name] += values
        state.step += 1
        state.samples += config.samples_per_step
        if state.samples % config.val_period:
            continue
        state.metrics = {
            # Means since the last report. NaN stays NaN: who watches has to see it.
            **{f"train/{name}": sum(values) / len(values) for name, values in history.items()},
            "train/lr": learning_rate(config, state.step),
            "train/steps": state.step,
            "train/samples": state.samples,
            "validation/accuracy": grpo.validate(state.policy, prompts.validation),
        }
        history.clear()
        trial.report(state.samples, state.metrics, checkpoint=save_if_due(state, config, trial.directory))
    return state.metrics


def start(policy: grpo.Policy, config: Config, seed: int) -> State:
    optimizer = torch.optim.AdamW(
        policy.parameters(),
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,  # one kernel for all parameters: a fifth less time on one core
    )
    return State(policy, optimizer, torch.Generator().manual_seed(seed), step=0, samples=0, metrics={})


def learning_rate(config: Config, step: int) -> float:
    """Of the GRPO step with this number, from 1: a linear warm-up, then constant or half a cosine down to a tenth."""
    warm_up = min(1.0, step / (config.warmup_steps + 1))
    if config.schedule == "constant":
        return config.lr * warm_up
    return config.lr * warm_up * (0.55 + 0.45 * math.cos(math.pi * (step - 1) / config.steps))


def grpo_step(state: State, reference: grpo.Policy, training: torch.Tensor, config: Config) -> dict[str, list[float]]:
    """Draws completions, then takes a few epochs of minibatch steps on them; returns what it measured on the way."""
    prompts = grpo.draw(training, config.num_prompts_per_step, state.generator)
    rollout = grpo.generate(
        state.policy, prompts, config.num_generations_per_prompt, config.temperature, state.generator
    )
    prompts = prompts.repeat_interleave(config.num_generations_per_prompt, dim=0)
    score = grpo.score(prompts, rollout.completions)
    rewards = score.exact + config.format_bonus * score.well_formed
    groups = rewards.view(-1, config.num_generations_per_prompt)
    advantages = grpo.group_advantages(
        groups, normalize=config.normalize_rewards, leave_one_out=config.use_leave_one_out_baseline
    ).flatten()
    with torch.no_grad():
        reference_log_probs, _ = grpo.log_probs_and_entropy(reference, prompts, rollout.completions, config.temperature)
    measured: dict[str, list[float]] = defaultdict(list)
    measured["reward"] = [rewards.mean().item()]
    measured["exact_match"] = [score.exact.mean().item()]
    measured["well_formed"] = [score.well_formed.mean().item()]
    measured["zero_std_fraction"] = [(groups == groups[:, :1]).all(dim=1).float().mean().item()]
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step + 1)
    for _ in range(config.ppo_epochs):
        order = torch.randperm(len(prompts), generator=state.generator)
        for batch in order.split(config.train_global_batch_size):
            log_probs, entropy = grpo.log_probs_and_entropy(
                state.policy, prompts[batch], rollout.completions[batch], config.temperature
            )
            terms = grpo.policy_loss(
                log_probs,
                entropy,
                rollout.log_probs[batch],
                reference_log_probs[batch],
                advantages[batch],
                rollout.mask[batch],
                clip_min=config.ratio_clip_min,
                clip_max=config.ratio_clip_max,
                kl_penalty=config.kl_penalty,
                entropy_coef=config.entropy_coef,
            )
            state.optimizer.zero_grad()
            terms.loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(state.policy.parameters(), config.max_grad_norm)
            state.optimizer.step()
            for name, value in {**terms._asdict(), "grad_norm": norm}.items():
                measured[name].append(value.item())
    return measured


# --- Checkpoints ------------------------------------------------------------------------------------------------------


def save_if_due(state: State, config: Config, directory: Path) -> Path | None:
    """Writes a checkpoint every `checkpointing.save_period` samples; returns where."""
    if not config.checkpointing or state.samples % config.save_period:
        return None
    path = directory / config.checkpoint_dir / f"samples_{state.samples}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = {
        "policy": state.policy.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "step": state.step,
        "samples": state.samples,
        "metrics": state.metrics,
    }
    grpo.save_atomically(saved, path)
    return path


def restore(state: State, path: Path) -> None:
    """Goes on from a checkpoint, bit for bit. The learning rate has no state: it follows from the step."""
    saved = torch.load(path, weights_only=True)
    state.policy.load_state_dict(saved["policy"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.generator.set_state(saved["generator"])
    state.step, state.samples, state.metrics = saved["step"], saved["samples"], saved["metrics"]


# --- The command line -------------------------------------------------------------------------------------------------


@dataclass
class CommandLineTrial:
    """Prints a line for each report, and writes one for whoever set RLTUNE_METRICS."""

    seed: int
    resume_from: Path | None
    metrics_file: TextIO | None
    directory: Path = Path()

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: Path | None = None) -> None:
        if self.metrics_file is not None:
            row = {"step": step, **metrics} | ({"checkpoint": str(checkpoint)} if checkpoint else {})
            self.metrics_file.write(json.dumps(row) + "\n")
        shown = ("reward", "exact_match", "kl", "entropy", "grad_norm")
        told = "  ".join(f"{name} {metrics[f'train/{name}']:.3f}" for name in shown)
        saved = f"  saved {checkpoint}" if checkpoint else ""
        print(f"samples {step:6d}  accuracy {metrics['validation/accuracy']:.3f}  {told}{saved}", flush=True)


def parse_overrides(base: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The flat configuration with `key.path=value` on top of it; values are YAML 1.2, so 1e-5 is a number.

    Raises:
        ValueError: On an override without an equals sign.
        YAMLError: On a value that is no YAML.
    """
    flat = flatten(base)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"an override is key.path=value, got {override!r}")
        flat[path] = YAML(typ="safe", pure=True).load(text)
    return flat


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a tiny transformer to sort digits with GRPO.")
    parser.add_argument("--config", type=Path, default=HERE / "config.yaml", help="default: %(default)s")
    parser.add_argument("--resume-from", type=Path, help="a checkpoint to go on from")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    options = parser.parse_intermixed_args(arguments)  # overrides may stand before and after options
    try:
        base = YAML(typ="safe", pure=True).load(options.config)
        config = read_config(parse_overrides(base, options.overrides))
    except (OSError, ValueError, YAMLError) as error:
        print(f"train.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        path = os.environ.get("RLTUNE_METRICS")
        # Buffered by line: each report is one write, so whoever reads along meets whole lines.
        metrics_file = stack.enter_context(Path(path).open("a", buffering=1, encoding="utf-8")) if path else None
        run(config, CommandLineTrial(config.seed, options.resume_from, metrics_file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
