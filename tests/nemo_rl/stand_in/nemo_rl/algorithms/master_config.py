"""What a composed recipe must be: lenient about types, silent about keys it does not know."""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class PolicyConfig(TypedDict):
    model_name: str
    tokenizer: dict[str, Any]
    train_global_batch_size: int
    train_micro_batch_size: int
    logprob_batch_size: NotRequired[int]
    max_total_sequence_length: int
    precision: str
    dtensor_cfg: dict[str, Any]
    megatron_cfg: NotRequired[dict[str, Any] | None]
    sequence_packing: NotRequired[dict[str, Any]]
    dynamic_batching: NotRequired[dict[str, Any]]
    max_grad_norm: NotRequired[float | int | None]
    optimizer: NotRequired[dict[str, Any] | None]
    scheduler: NotRequired[list[dict[str, Any]] | dict[str, Any] | None]
    generation: NotRequired[dict[str, Any] | None]


class CheckpointingConfig(TypedDict):
    enabled: bool
    checkpoint_dir: str
    metric_name: str | None
    higher_is_better: bool
    keep_top_k: NotRequired[int]
    save_period: int
    checkpoint_must_save_by: NotRequired[str | None]
    save_optimizer: NotRequired[bool]


class WandbConfig(TypedDict):
    project: NotRequired[str]
    name: NotRequired[str]


class LoggerConfig(TypedDict):
    log_dir: str
    wandb_enabled: bool
    tensorboard_enabled: bool
    mlflow_enabled: bool
    swanlab_enabled: bool
    wandb: NotRequired[WandbConfig]
    tensorboard: NotRequired[dict[str, Any]]
    monitor_gpus: bool


class ClusterConfig(TypedDict):
    gpus_per_node: int
    num_nodes: int


class ClippedPGLossConfig(BaseModel, extra="allow"):
    reference_policy_kl_penalty: float = 0.01
    ratio_clip_min: float = 0.2
    ratio_clip_max: float = 0.2
    ratio_clip_c: float | None = None
    token_level_loss: bool = True
    sequence_level_importance_ratios: bool = False
    force_on_policy_ratio: bool = False
    use_cispo: bool = False
    disable_ppo_ratio: bool = False
    use_importance_sampling_correction: bool = False
    truncated_importance_sampling_type: str | None = None
    truncated_importance_sampling_ratio: float | None = None
    truncated_importance_sampling_ratio_min: float | None = None
    use_kl_in_reward: bool = False


class DistillationLossConfig(BaseModel, extra="allow"):
    kl_type: str = "mixed"
    mixed_kl_weight: float = 0.5


class MseValueLossConfig(BaseModel, extra="forbid"):
    scale: float = 0.4
    cliprange: float | None = 0.2


class AdvEstimatorConfig(BaseModel, extra="allow"):
    name: str = "grpo"
    normalize_rewards: bool = True
    use_leave_one_out_baseline: bool = True


class RewardShapingConfig(BaseModel, extra="allow"):
    enabled: bool = False
    overlong_buffer_length: int | None = None
    overlong_buffer_penalty: float | None = None
    max_response_length: int | None = None
    stop_properly_penalty_coef: float | None = None


class RewardScalingConfig(BaseModel, extra="allow"):
    enabled: bool = False
    source_min: float = 0.0
    source_max: float = 1.0
    target_min: float = 0.0
    target_max: float = 1.0


class _Rollouts(BaseModel, extra="allow"):
    """What GRPO, PPO and distillation share."""

    num_prompts_per_step: int = 32
    num_generations_per_prompt: int = 16
    max_num_epochs: int = 1
    max_num_steps: int = 1000000
    val_period: int = 10
    val_start_at: int = -1
    val_at_start: bool = False
    val_at_end: bool = False
    val_batch_size: int | None = 256
    max_val_samples: int | None = 256
    val_num_generations_per_prompt: int = 1
    seed: int = 42


class GRPOConfig(_Rollouts):
    normalize_rewards: bool = True
    use_leave_one_out_baseline: bool = True
    stop_at_validation_metric: str | None = None
    stop_at_validation_threshold: float | None = None
    skip_reference_policy_logprobs_calculation: bool = False
    use_dynamic_sampling: bool = False
    dynamic_sampling_max_gen_batches: int = 10
    batch_multiplier: float = 1.0
    reward_shaping: RewardShapingConfig = Field(default_factory=RewardShapingConfig)
    reward_scaling: RewardScalingConfig = Field(default_factory=RewardScalingConfig)
    adv_estimator: AdvEstimatorConfig = Field(default_factory=AdvEstimatorConfig)


class PPOConfig(GRPOConfig):
    ppo_epochs: int = 1
    policy_training_start_step: int = 0


class DistillationConfig(_Rollouts):
    topk_logits_k: int = 64


class _Supervised(BaseModel, extra="allow"):
    """What DPO, SFT and reward models share."""

    max_num_epochs: int
    max_num_steps: int
    val_period: int
    val_batches: int
    val_global_batch_size: int
    val_micro_batch_size: int
    val_at_start: bool
    val_at_end: bool
    seed: int


class DPOConfig(_Supervised):
    reference_policy_kl_penalty: float
    preference_average_log_probs: bool
    sft_average_log_probs: bool
    preference_loss_weight: float
    sft_loss_weight: float


class SFTConfig(_Supervised): ...


class RMConfig(_Supervised): ...


class _Common(BaseModel, extra="allow"):
    policy: PolicyConfig
    data: dict[str, Any]
    logger: LoggerConfig
    cluster: ClusterConfig
    checkpointing: CheckpointingConfig


class _GRPO(_Common):
    loss_fn: ClippedPGLossConfig
    grpo: GRPOConfig


class _PPO(_Common):
    loss_fn: ClippedPGLossConfig
    value_loss_fn: MseValueLossConfig
    value: dict[str, Any]
    ppo: PPOConfig


class _DPO(_Common):
    dpo: DPOConfig


class _SFT(_Common):
    sft: SFTConfig


class _RM(_Common):
    rm: RMConfig


class _Distillation(_Common):
    loss_fn: DistillationLossConfig
    teacher: dict[str, Any]
    distillation: DistillationConfig


MODELS = {"grpo": _GRPO, "ppo": _PPO, "dpo": _DPO, "sft": _SFT, "rm": _RM, "distillation": _Distillation}
for _model in MODELS.values():  # each script prints its own under this name
    _model.__name__ = _model.__qualname__ = "MasterConfig"
