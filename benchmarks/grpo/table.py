"""The measured table: benchmarks/data/grpo_digits.npz."""

from __future__ import annotations

METRICS = (
    "validation/accuracy",
    "train/reward",
    "train/exact_match",
    "train/well_formed",
    "train/zero_std_fraction",
    "train/loss",
    "train/kl",
    "train/entropy",
    "train/clip_fraction",
    "train/grad_norm",
)

OBJECTIVE = "validation/accuracy"
