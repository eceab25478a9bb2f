"""The made-up learner: a learning curve in closed form, so that a study of it means something and costs nothing.

    s   skill in [0, 1), what of the attainable has been learnt
    d   damage >= 0, what a learning rate above the limit has destroyed
    x   log10(lr / best), how far the learning rate is from the best one

Each step: `s += speed (1 - s)`, `speed = 0.08 exp(-2 x^2) m`, and `d += 0.06 (lr / limit - 1)` above the limit. `m`
grows with samples and updates per step; a KL penalty raises the limit and lowers what is attainable. So there is a
best learning rate that moves with the batch, a cliff above it, and a shallow optimum in everything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nemo_rl import misbehaviour
from nemo_rl.algorithms.optimizer import on_megatron

BEST_LEARNING_RATE = {"grpo": 2e-6, "ppo": 1e-6, "distillation": 2e-5, "dpo": 1e-6, "sft": 1e-5, "rm": 2e-6}
LIMIT = 8.0
"""Times the best learning rate: where damage begins without a KL penalty."""

ROLLOUT_METRICS = ("mean_gen_tokens_per_sample", "truncation_rate")
"""Of the training metrics, those that a step logs twice."""

LOSSES = {"dpo": (0.693, 0.45), "sft": (2.2, 1.3), "rm": (0.693, 0.35), "distillation": (1.4, 0.4)}
"""(at the start, at best) of algorithms whose loss falls as they learn."""


@dataclass(frozen=True)
class Knobs:
    """What of the recipe makes a difference, whatever the backend.

    Attributes:
        samples: Sequences per step.
        updates: Of the weights, per step.
        group: Generations per prompt; 1 where nothing is generated.
        lora: alpha / dim, or None for full fine-tuning.
        critic_ratio: The critic's learning rate over the policy's; None without a critic.
        beta_offset: log10 of DPO's beta over its best, else 0.
    """

    algorithm: str
    samples: int
    updates: float
    group: int
    kl_penalty: float
    clip_max: float
    temperature: float
    weight_decay: float
    lora: float | None
    critic_ratio: float | None
    beta_offset: float
    seed: int

    @property
    def rollouts(self) -> bool:
        return self.algorithm in ("grpo", "ppo", "distillation")

    @property
    def best_learning_rate(self) -> float:
        best = BEST_LEARNING_RATE[self.algorithm] * math.sqrt(self.samples / self.updates / 512)
        if not self.rollouts:
            best *= 2  # 128 sequences an update are the usual
        return best if self.lora is None else best * 10 * 4 / self.lora

    @property
    def attainable(self) -> float:
        """The share of the way from chance to perfection that this configuration can go."""
        off = 0.02 * min(4.0, ((self.clip_max - 0.28) / 0.1) ** 2) if self.algorithm in ("grpo", "ppo") else 0.0
        if self.kl_penalty > 0:
            off += 0.015 * math.log10(max(self.kl_penalty, 1e-4) / 1e-3) ** 2
        off += 0.4 * (self.temperature - 1.0) ** 2 + 0.05 * self.beta_offset**2
        off += 0.01 * abs(self.weight_decay - 0.05)
        luck = float(np.random.default_rng([self.seed, 1]).normal(0, 0.01))
        return min(0.98, max(0.05, 0.75 - off + luck))


def knobs(algorithm: str, config: Mapping[str, Any], lr: float, critic_lr: float | None) -> Knobs:
    """Read from where the code reads it: advantage flags and optimizers of the other backend count for nothing."""
    section, policy, loss = config[algorithm], config["policy"], config.get("loss_fn", {})
    batch = policy["train_global_batch_size"]
    rollouts = algorithm in ("grpo", "ppo", "distillation")
    group = section.get("num_generations_per_prompt", 1)
    samples = section["num_prompts_per_step"] * group if rollouts else batch
    peft = (policy["megatron_cfg"] if on_megatron(policy) else policy["dtensor_cfg"]) or {}
    peft = peft.get("peft" if on_megatron(policy) else "lora_cfg") or {}
    offset = 0.0
    if algorithm == "dpo":
        best = 5.0 if section["preference_average_log_probs"] else 0.05
        offset = math.log10(max(section["reference_policy_kl_penalty"], 1e-6) / best)
    return Knobs(
        algorithm=algorithm,
        samples=samples,
        updates=samples / batch * section.get("ppo_epochs", 1),
        group=group,
        kl_penalty=loss.get("reference_policy_kl_penalty", 0.0),
        clip_max=loss.get("ratio_clip_max", 0.28),
        temperature=(policy.get("generation") or {}).get("temperature", 1.0) if rollouts else 1.0,
        weight_decay=_weight_decay(policy),
        lora=peft["alpha"] / peft["dim"] if peft.get("enabled") else None,
        critic_ratio=None if critic_lr is None else critic_lr / max(lr, 1e-30),
        beta_offset=offset,
        seed=section["seed"],
    )


def _weight_decay(policy: Mapping[str, Any]) -> float:
    if on_megatron(policy):
        return policy["megatron_cfg"]["optimizer"]["weight_decay"]
    return policy["optimizer"]["kwargs"].get("weight_decay", 0.01)


@dataclass
class Policy:
    """The weights."""

    skill: float = 0.0
    damage: float = 0.0

    def learn(self, knobs: Knobs, lr: float, step: int) -> None:
        """One step at the learning rate `lr`."""
        ratio = lr / knobs.best_learning_rate
        gain = (knobs.samples / 512) ** 0.15 * knobs.updates**0.3
        if knobs.algorithm in ("grpo", "ppo"):
            gain *= math.sqrt(max(0.0, 1 - 1 / knobs.group)) + 0.02  # one generation has nothing to be compared with
        if knobs.critic_ratio is not None:
            gain *= math.exp(-0.7 * math.log10(max(knobs.critic_ratio, 1e-9) / 10) ** 2)
        speed = 0.08 * math.exp(-2 * math.log10(ratio) ** 2) * gain if ratio > 0 else 0.0
        self.skill += min(0.9, speed) * (1 - self.skill)
        excess = ratio / (LIMIT * (1 + 20 * knobs.kl_penalty)) - 1
        if misbehaviour.begun("collapse", step):
            excess = max(excess, 3.0)
        self.damage = min(3.0, self.damage + 0.06 * max(0.0, min(excess, 8.0)))


def accuracy(policy: Policy, knobs: Knobs) -> float:
    """The chance that an answer is right."""
    chance = 0.5 if knobs.algorithm in ("dpo", "rm") else 0.1
    at_best = chance + (1 - chance) * knobs.attainable
    return (chance + (at_best - chance) * policy.skill) * math.exp(-4 * policy.damage**2)


def validation_loss(policy: Policy, knobs: Knobs) -> float:
    start, best = LOSSES[knobs.algorithm]
    return start - (start - best) * policy.skill * knobs.attainable / 0.75 + 3 * policy.damage


def validation_metrics(policy: Policy, knobs: Knobs, samples: int, step: int) -> dict[str, float]:
    """What `samples` answers of held-out prompts show; the noise follows from the seed and the step."""
    rng = np.random.default_rng([knobs.seed, 2, step])
    right = rng.binomial(samples, accuracy(policy, knobs)) / samples
    if knobs.rollouts:
        return {"accuracy": right, "avg_length": 180 + 60 * policy.skill + float(rng.normal(0, 3))}
    loss = validation_loss(policy, knobs) + float(rng.normal(0, 0.3 / math.sqrt(samples)))
    if knobs.algorithm == "sft":
        return {"val_loss": loss}
    margin = 1.5 * policy.skill
    return {
        "loss": loss,
        "accuracy": right,
        "rewards_chosen_mean": 0.3 * margin - 2 * policy.damage,
        "rewards_rejected_mean": -0.7 * margin - 2 * policy.damage,
        "num_valid_samples": samples,
    }


def train_metrics(policy: Policy, knobs: Knobs, lr: float, step: int) -> dict[str, float]:
    """What the step itself shows."""
    rng = np.random.default_rng([knobs.seed, 3, step])
    right = accuracy(policy, knobs)
    noise = float(rng.normal())
    metrics = {
        "loss": 0.02 + 0.01 * noise,
        "grad_norm": 0.3 * math.exp(0.1 * noise) * (1 + 40 * policy.damage),
        "lr": lr,
        "global_valid_seqs": float(knobs.samples),
        "global_valid_toks": 200.0 * knobs.samples,
    }
    if knobs.algorithm in LOSSES:
        metrics["loss"] = validation_loss(policy, knobs) + 0.02 * noise
    if knobs.algorithm in ("dpo", "rm"):
        metrics["accuracy"] = rng.binomial(knobs.samples, right) / knobs.samples
    if knobs.rollouts:
        metrics["mean_gen_tokens_per_sample"] = 180 + 60 * policy.skill
        metrics["truncation_rate"] = min(1.0, 0.04 + 0.9 * policy.damage)
    if knobs.algorithm in ("grpo", "ppo"):
        metrics |= _rollout_metrics(policy, knobs, lr, right, step, rng)
    if misbehaviour.begun("nan", step):
        metrics |= dict.fromkeys(({"loss", "grad_norm", "reward", "accuracy"} & metrics.keys()), math.nan)
    return metrics


def _rollout_metrics(
    policy: Policy, knobs: Knobs, lr: float, right: float, step: int, rng: np.random.Generator
) -> dict[str, float]:
    mixed = 2.8 * right * (1 - right) * (1 - 1 / knobs.group)  # prompts differ, so many are always right or wrong
    freedom = (lr / knobs.best_learning_rate) ** 0.5 * (1e-3 / (1e-3 + knobs.kl_penalty)) ** 0.3
    strange = 0.0
    if misbehaviour.begun("mismatch", step):
        strange = 0.004 * (step - int(misbehaviour.SWITCHES["mismatch"] or 1) + 1)
    error = abs(float(rng.normal(0, 0.001)))
    metrics = {
        "reward": rng.binomial(knobs.samples, right) / knobs.samples,
        "kl_penalty": 0.0005 + 0.02 * policy.skill * freedom + 0.2 * math.expm1(4 * min(policy.damage, 1.0)),
        "approx_entropy": 0.6 * knobs.temperature * math.exp(-policy.skill) * math.exp(-8 * policy.damage),
        "probs_ratio": 1.0 + 0.001 * float(rng.normal()),
        "probs_ratio_clamped": 1.0 + 0.0005 * float(rng.normal()),
        "token_mult_prob_error": 1.004 + error + 5 * strange,
        "gen_kl_error": 2e-4 + error / 10 + strange,
        "advantages/mean": 0.0,
        "advantages/max": 2.5,
        "advantages/min": -2.5,
        "baseline_reward/pct_0": 100 * (1 - mixed) * (1 - right),
        "baseline_reward/pct_1": 100 * (1 - mixed) * right,
        "baseline_reward/pct_mixed": 100 * mixed,
    }
    if knobs.critic_ratio is not None:
        metrics |= {"critic/loss": 0.3 * (1 - policy.skill), "critic/explained_var": 0.7 * policy.skill - policy.damage}
    return metrics
