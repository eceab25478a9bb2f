"""Trains a small network to read handwritten digits: a job of a fraction of a second that can be cross-validated.

    rltune run study.yaml       calls `train(config, ...)` once for each trial and fold
    python train.py             one run with the defaults, in the terminal

The network pools the eight rows of an image by learned attention, and a perceptron reads the pooled rows and the image.
It is trained by AdamW with warm-up, dropout and clipped gradients, all written out in NumPy. One training label in
seven is wrong, so that a network without regularisation learns the errors by heart.

The configuration has the names and the ranges of a large model; `SCALE`, `LAYERS` and `HEADS` shrink them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-4,
    "batch_size": 16,
    "gradient_accumulation_steps": 1,
    "weight_decay": 0.01,
    "warmup_steps": 1000,
    "max_grad_norm": 1.0,
    "dropout_rate": 0.1,
    "attention_dropout": 0.1,
    "hidden_size": 1024,
    "num_layers": 12,
    "num_attention_heads": 16,
    "max_epochs": 20,
}
"""What a configuration need not say."""

SCALE = 32
"""The network is 32 times narrower than `hidden_size` and warms up in 32 times fewer steps. Its learning rate is 32
times higher: Adam's best one goes with the inverse of the width (Yang et al. 2022, muP, table 3)."""

LAYERS = 6
"""`num_layers` for each hidden layer."""

HEADS = 4
"""`num_attention_heads` for each attention head."""

SAMPLES = 500
WRONG_LABELS = 0.15


@functools.cache
def dataset() -> tuple[Array, NDArray[np.intp]]:
    """Images of shape (500, 64), from 0 to 1, and their digits of shape (500,): what a study splits into folds."""
    images, digits = load_digits(return_X_y=True)
    return images[:SAMPLES] / 16.0, digits[:SAMPLES].astype(np.intp)


@threadpool_limits.wrap(limits=1)  # matrices this small lose by being shared among threads
def train(
    config: Mapping[str, Any],
    trial: Any = None,
    train_idx: NDArray[np.intp] | None = None,
    val_idx: NDArray[np.intp] | None = None,
    fold: int | None = None,
    n_folds: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Trains one network and returns its last validation loss and accuracy; every epoch's are reported on the way.

    Args:
        config: Any of the names in `DEFAULTS`; the others keep their default.
        trial: Where to report; None for nowhere.
        train_idx, val_idx: The samples to train on and to validate on, as positions in `dataset()`.
        fold, n_folds: Without positions, which fold to validate on; without either, the first of five.
        seed: Of the initial weights, the order of the samples and the dropout.

    Raises:
        ValueError: A name that is not in `DEFAULTS`.
    """
    if unknown := sorted(set(config) - set(DEFAULTS)):
        raise ValueError(f"unknown in the config: {', '.join(unknown)}; known: {', '.join(DEFAULTS)}")
    config = DEFAULTS | dict(config)
    images, digits = dataset()
    if train_idx is None or val_idx is None:
        train_idx, val_idx = own_split(fold or 0, n_folds or 5)
    labels = with_errors(digits)

    rng = np.random.default_rng(seed)
    network = Network(
        width=max(1, round(config["hidden_size"] / SCALE)),
        layers=max(1, round(config["num_layers"] / LAYERS)),
        heads=max(1, round(config["num_attention_heads"] / HEADS)),
        rng=rng,
    )
    optimizer = AdamW(network.weights, config)
    # Gradients accumulated over equal micro-batches are those of one batch of their total size.
    batch_size = config["batch_size"] * config["gradient_accumulation_steps"]
    metrics: dict[str, float] = {}
    for epoch in range(1, config["max_epochs"] + 1):
        order = rng.permutation(train_idx)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            dropout = (config["dropout_rate"], config["attention_dropout"])
            optimizer.step(network.gradient(images[batch], labels[batch], dropout, rng))
        metrics = network.evaluate(images[val_idx], digits[val_idx])
        if trial is not None:
            trial.report(epoch, metrics)
    return metrics


def own_split(fold: int, n_folds: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The positions to train on and to validate on; the same in every run."""
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    return list(folds.split(*dataset()))[fold]


def with_errors(digits: NDArray[np.intp]) -> NDArray[np.intp]:
    """The labels to train on: each sample's is right or wrong for good, whatever the fold or the seed."""
    rng = np.random.default_rng(0)
    wrong = rng.random(len(digits)) < WRONG_LABELS
    return np.where(wrong, (digits + rng.integers(1, 10, len(digits))) % 10, digits)


class Network:
    """Attention pooling and a perceptron, with their gradient.

    Attributes:
        weights: Every weight and bias in one vector, for the optimizer; `parts` are views of it by name.
    """

    def __init__(self, width: int, layers: int, heads: int, rng: Generator) -> None:
        sizes = [64 + 8 * heads, *[width] * layers, 10]
        shapes: dict[str, tuple[int, ...]] = {"query": (8, heads), "place": (8, heads)}
        for n, shape in enumerate(pairwise(sizes)):
            shapes |= {f"weight {n}": shape, f"bias {n}": shape[1:]}
        self.n_layers = len(sizes) - 1
        self.shapes = shapes
        self.weights: Array = np.zeros(sum(int(np.prod(shape)) for shape in shapes.values()))
        self.parts = self.views(self.weights)
        for part in self.parts.values():
            if part.ndim == 2:
                part[:] = rng.normal(0.0, np.sqrt(2.0 / part.shape[0]), part.shape)  # He et al. 2015

    def views(self, vector: Array) -> dict[str, Array]:
        """The parts of a vector of the weights' length, by name, without copying."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            end = start + int(np.prod(shape))
            views[name] = vector[start:end].reshape(shape)
            start = end
        return views

    def gradient(self, images: Array, labels: NDArray[np.intp], dropout: tuple[float, float], rng: Generator) -> Array:
        """Of the mean cross-entropy of a batch, in the order of `weights`.

        Args:
            images: Shape (batch, 64).
            labels: Shape (batch,).
            dropout: The share of hidden units and of attention weights that are dropped.
            rng: Says which.
        """
        hidden_dropout, attention_dropout = dropout
        parts, batch = self.parts, len(images)
        gradient = np.zeros_like(self.weights)
        into = self.views(gradient)

        rows = images.reshape(batch, 8, 8)
        attention = self.attention(rows)  # batch, rows, heads
        kept = keep(attention.shape, attention_dropout, rng)
        inputs = [self.pooled(images, attention * kept)]
        masks = []
        for n in range(self.n_layers - 1):
            before = inputs[-1] @ parts[f"weight {n}"] + parts[f"bias {n}"]
            masks.append((before > 0) * keep(before.shape, hidden_dropout, rng))
            inputs.append(before * masks[-1])
        last = self.n_layers - 1
        back = softmax(inputs[-1] @ parts[f"weight {last}"] + parts[f"bias {last}"], axis=1)

        back[np.arange(batch), labels] -= 1.0
        back /= batch
        for n in range(last, -1, -1):
            into[f"weight {n}"][:] = inputs[n].T @ back
            into[f"bias {n}"][:] = back.sum(axis=0)
            back = back @ parts[f"weight {n}"].T
            if n:
                back *= masks[n - 1]
        to_pooled = back[:, 64:].reshape(batch, -1, 8)  # batch, heads, pixels of a row
        to_attention = kept * (rows @ to_pooled.transpose(0, 2, 1))
        to_scores = attention * (to_attention - (attention * to_attention).sum(axis=1, keepdims=True))
        into["query"][:] = np.tensordot(rows, to_scores, axes=((0, 1), (0, 1)))
        into["place"][:] = to_scores.sum(axis=0)
        return gradient

    def attention(self, rows: Array) -> Array:
        """How much each head looks at each row, by what is in it and where it is; shape (batch, 8, heads)."""
        return softmax(rows @ self.parts["query"] + self.parts["place"], axis=1)

    def pooled(self, images: Array, attention: Array) -> Array:
        """The images, and beside them what each head has seen; shape (batch, 64 + 8 * heads)."""
        rows = images.reshape(len(images), 8, 8)
        seen = attention.transpose(0, 2, 1) @ rows
        return np.concatenate([images, seen.reshape(len(images), -1)], axis=1)

    def logits(self, images: Array) -> Array:
        """Without dropout; shape (batch, 10)."""
        values = self.pooled(images, self.attention(images.reshape(-1, 8, 8)))
        for n in range(self.n_layers):
            values = values @ self.parts[f"weight {n}"] + self.parts[f"bias {n}"]
            if n < self.n_layers - 1:
                values = np.maximum(values, 0.0)
        return values

    def evaluate(self, images: Array, labels: NDArray[np.intp]) -> dict[str, float]:
        """The mean cross-entropy, in nats, and the share of digits that are read right."""
        logits = self.logits(images)
        top = logits.max(axis=1)
        log_total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        loss = log_total - logits[np.arange(len(labels)), labels]
        accuracy = (logits.argmax(axis=1) == labels).mean()
        return {"validation_loss": float(loss.mean()), "validation_accuracy": float(accuracy)}


class AdamW:
    """Loshchilov and Hutter 2019, algorithm 2, with linear warm-up and clipping by the norm of the whole gradient."""

    def __init__(self, weights: Array, config: Mapping[str, Any], betas: tuple[float, float] = (0.9, 0.95)) -> None:
        self.weights = weights
        self.learning_rate = config["learning_rate"] * SCALE
        self.warmup_steps = config["warmup_steps"] / SCALE
        self.weight_decay = config["weight_decay"]
        self.max_grad_norm = config["max_grad_norm"]
        self.betas = betas
        self.n_steps = 0
        self.mean = np.zeros_like(weights)
        self.square = np.zeros_like(weights)

    def step(self, gradient: Array) -> None:
        """Changes the weights in place."""
        self.n_steps += 1
        gradient = gradient * min(1.0, self.max_grad_norm / (np.linalg.norm(gradient) + 1e-12))
        beta1, beta2 = self.betas
        self.mean += (1 - beta1) * (gradient - self.mean)
        self.square += (1 - beta2) * (gradient**2 - self.square)
        mean = self.mean / (1 - beta1**self.n_steps)
        square = self.square / (1 - beta2**self.n_steps)
        rate = self.learning_rate * min(1.0, self.n_steps / max(1.0, self.warmup_steps))
        self.weights -= rate * (mean / (np.sqrt(square) + 1e-8) + self.weight_decay * self.weights)


def softmax(scores: Array, axis: int) -> Array:
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def keep(shape: tuple[int, ...], share_dropped: float, rng: Generator) -> Array:
    """Factors that drop a share of what they multiply and leave its mean as it was."""
    if share_dropped == 0.0:
        return np.ones(shape)
    return (rng.random(shape) >= share_dropped) / (1.0 - share_dropped)


class Printer:
    """Reports to the terminal."""

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        print(f"epoch {epoch:2}  " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    train({}, Printer())
