"""Training curves as NeMo RL reports them: one that is well, and ways to spoil it."""

import math
import random

from rltune.guards import make_guard
from rltune.types import Measurement

OBJECTIVE = "validation/accuracy"
GUARDS = ("divergence", "kl", "grad_norm", "no_signal", "collapse", "truncation", "hacking", "mismatch")


def guard(name, **options):
    return make_guard(name, options, objective=OBJECTIVE, direction="maximize")


def curve(*values, metric):
    """One metric, a measurement a value, from step 1."""
    return [Measurement(step, {metric: value}) for step, value in enumerate(values, 1)]


def healthy(seed, *, steps=100, val_period=5):
    """A run that learns and then levels off, with the noise of 256 answers; scales differ from seed to seed."""
    rng = random.Random(seed)
    start, gain, pace = rng.uniform(0.05, 0.5), rng.uniform(0.0, 0.4), rng.uniform(5, 40)
    last_kl, kl_begins = rng.choice([0.01, 0.05, 0.1]), rng.choice([1e-4, 0.005])
    usual_norm = 10 ** rng.uniform(-2, 1)
    entropy_left = 0.02 if gain > 0.15 else 0.1
    measurements = [Measurement(0, {OBJECTIVE: start + rng.gauss(0, 0.03)})]
    for step in range(1, steps + 1):
        learned = 1 - math.exp(-step / pace)
        accuracy = start + gain * learned
        metrics = {
            "train/reward": accuracy + rng.gauss(0, 0.03),
            "train/loss": rng.gauss(0, 0.01),
            "train/kl_penalty": kl_begins + (last_kl - min(last_kl, kl_begins)) * learned * rng.lognormvariate(0, 0.1),
            # 73 % of the entropy are gone after a twelfth of the steps, and most of the rest goes too
            "train/approx_entropy": math.exp(-1.31 * 12 * step / steps) + entropy_left + abs(rng.gauss(0, 0.005)),
            "train/grad_norm": usual_norm * rng.lognormvariate(0, 0.3) * (15 if rng.random() < 0.02 else 1),
            "train/truncation_rate": min(1.0, abs(rng.gauss(0.05, 0.05))),
            "train/baseline_reward/pct_mixed": 60 - 40 * learned + rng.gauss(0, 3),
            "train/token_mult_prob_error": 1.004 + abs(rng.gauss(0, 0.003)),
            "train/gen_kl_error": abs(rng.gauss(3e-4, 1e-4)),
        }
        if step % val_period == 0:
            metrics[OBJECTIVE] = accuracy + rng.gauss(0, 0.03)
        measurements.append(Measurement(step, metrics))
    return measurements


def spoilt(measurements, since, change):
    """The same run where metrics become something else from a step on: `change` gives those of a step."""
    return [Measurement(m.step, {**m.metrics, **(change(m.step) if m.step >= since else {})}) for m in measurements]


def fires_at(judge, measurements):
    """The step of the first verdict, and the verdict; None where there is none."""
    for n in range(1, len(measurements) + 1):
        if (verdict := judge(measurements[:n])) is not None:
            return measurements[n - 1].step, verdict
    return None
