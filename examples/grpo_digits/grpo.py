"""GRPO on a transformer small enough for one CPU core: the task, the policy, the loss.

The task is to sort six digits: prompt `4 8 2 6 1 5 =`, completion `1 2 4 5 6 8 <end>`.

    P   prompts per step              T   tokens of a sequence
    G   completions per prompt        V   vocabulary
    B   completions, B = P * G        L   tokens of a completion, six digits and the end token

Sources: GRPO is DeepSeekMath, arXiv 2402.03300, equations 3 and 4. Separate lower and upper clipping is DAPO,
arXiv 2503.14476. The KL estimator k3 is J. Schulman, "Approximating KL Divergence", joschu.net/blog/kl-approx.html.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# --- The task ---------------------------------------------------------------------------------------------------------

N_DIGITS = 6
EQUALS, END = 10, 11  # tokens 0 to 9 are the digits
VOCABULARY = 12
PROMPT = N_DIGITS + 1  # the digits and the equals sign
COMPLETION = N_DIGITS + 1  # the digits and the end token
N_VALIDATION = 512
TASK_SEED = 20_240_203  # splits the million prompts; the same for every run, whatever its own seed


class Prompts(NamedTuple):
    """The million prompts, split once: what is validated on is never trained on."""

    training: Tensor  # as whole numbers from 0 to 999,999
    validation: Tensor  # (N_VALIDATION, PROMPT)


def split_prompts() -> Prompts:
    numbers = torch.randperm(10**N_DIGITS, generator=torch.Generator().manual_seed(TASK_SEED))
    return Prompts(training=numbers[N_VALIDATION:], validation=write_out(numbers[:N_VALIDATION]))


def write_out(numbers: Tensor) -> Tensor:
    """The digits of each number and the equals sign: (n,) to (n, PROMPT)."""
    digits = numbers[:, None] // 10 ** torch.arange(N_DIGITS) % 10
    return functional.pad(digits, (0, 1), value=EQUALS)


def draw(numbers: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """`n` prompts at random: (n, PROMPT)."""
    return write_out(numbers[torch.randint(len(numbers), (n,), generator=generator)])


def solve(prompts: Tensor) -> Tensor:
    """The right completion of every prompt: (n, PROMPT) to (n, L)."""
    return functional.pad(prompts[:, :N_DIGITS].sort(dim=1).values, (0, 1), value=END)


class Score(NamedTuple):
    """Two verdicts on each completion, as 0 or 1: (B,)."""

    exact: Tensor
    well_formed: Tensor  # six digits in order, then the end: right or not, so a policy can live off it alone


def score(prompts: Tensor, completions: Tensor) -> Score:
    """Judges completions (B, L) of prompts (B, PROMPT)."""
    digits = completions[:, :N_DIGITS]
    ordered = (digits[:, 1:] >= digits[:, :-1]).all(dim=1)
    complete = (digits < EQUALS).all(dim=1) & (completions[:, -1] == END)
    exact = (completions == solve(prompts)).all(dim=1)
    return Score(exact=exact.float(), well_formed=(ordered & complete).float())


# --- The policy -------------------------------------------------------------------------------------------------------

WIDTH, HEADS, BLOCKS = 64, 4, 2  # 102,528 parameters
Cache = list[tuple[Tensor, Tensor]]  # the keys and values of each block, both (B, HEADS, T, WIDTH / HEADS)


class Block(nn.Module):
    """Causal self-attention, then a perceptron, each added to its normalised input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(WIDTH)
        self.queries_keys_values = nn.Linear(WIDTH, 3 * WIDTH)
        self.attention_out = nn.Linear(WIDTH, WIDTH)
        self.norm_perceptron = nn.LayerNorm(WIDTH)
        self.perceptron_in = nn.Linear(WIDTH, 4 * WIDTH)
        self.perceptron_out = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, T, WIDTH) to the same; with a past, T is one token, which may look at all that came before."""
        batch, length, _ = x.shape
        joint = self.queries_keys_values(self.norm_attention(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        queries, keys, values = joint.permute(2, 0, 3, 1, 4)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=past is None)
        x = x + self.attention_out(attended.transpose(1, 2).reshape(batch, length, WIDTH))
        hidden = functional.relu(self.perceptron_in(self.norm_perceptron(x)))
        return x + self.perceptron_out(hidden), (keys, values)


class Policy(nn.Module):
    """A decoder-only transformer over `VOCABULARY` tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Embedding(PROMPT + COMPLETION, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Logits of the token after each of `tokens`, (B, T) to (B, T, V), and the cache that lets the next call go on.

        With a cache, `tokens` is the one new token of each sequence, (B, 1).
        """
        start = cache[0][0].shape[2] if cache else 0
        x = self.token(tokens) + self.position.weight[start : start + tokens.shape[1]]
        grown: Cache = []
        for block, past in zip(self.blocks, cache or [None] * BLOCKS, strict=True):
            x, keys_values = block(x, past)
            grown.append(keys_values)
        return self.head(self.norm(x)), grown


class Rollout(NamedTuple):
    """What the policy wrote, for `P * G` prompts, the completions of one prompt side by side."""

    completions: Tensor  # (B, L)
    log_probs: Tensor  # (B, L), of each token under the policy that drew it
    mask: Tensor  # (B, L), 1 up to and with the first end token


@torch.no_grad()
def generate(
    policy: Policy, prompts: Tensor, group: int, temperature: float, generator: torch.Generator | None
) -> Rollout:
    """Draws `group` completions of each of `prompts` (P, PROMPT); without a generator takes the likeliest tokens.

    The tokens come by the Gumbel-max trick: unlike `torch.multinomial` it goes on when the logits are NaN,
    and a run that has diverged is here to be seen, not to crash.
    """
    logits, cache = policy(prompts)
    logits = logits[:, -1].repeat_interleave(group, dim=0)
    cache = [(k.repeat_interleave(group, dim=0), v.repeat_interleave(group, dim=0)) for k, v in cache]
    tokens, log_probs = [], []
    for position in range(COMPLETION):
        if position:
            logits, cache = policy(tokens[-1], cache)
            logits = logits[:, -1]
        log_prob = functional.log_softmax(logits / temperature, dim=-1)
        noise = 0.0 if generator is None else -torch.empty_like(log_prob).exponential_(generator=generator).log()
        tokens.append((log_prob + noise).argmax(dim=-1, keepdim=True))
        log_probs.append(log_prob.gather(1, tokens[-1]))
    completions = torch.cat(tokens, dim=1)
    ended = (completions == END).cumsum(dim=1) - (completions == END).long()  # end tokens before this one
    return Rollout(completions, torch.cat(log_probs, dim=1), (ended == 0).float())


@torch.no_grad()
def validate(policy: Policy, prompts: Tensor) -> float:
    """The share of prompts that greedy decoding solves."""
    greedy = generate(policy, prompts, group=1, temperature=1.0, generator=None)
    return score(prompts, greedy.completions).exact.mean().item()


def log_probs_and_entropy(
    policy: Policy, prompts: Tensor, completions: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Of each token of the completions, under the policy at the temperature it acts with: both (B, L)."""
    logits, _ = policy(torch.cat([prompts, completions[:, :-1]], dim=1))
    log_p = functional.log_softmax(logits[:, -COMPLETION:] / temperature, dim=-1)
    return log_p.gather(2, completions[:, :, None]).squeeze(2), -(log_p.exp() * log_p).sum(dim=-1)


# --- The algorithm ----------------------------------------------------------------------------------------------------


def group_advantages(rewards: Tensor, *, normalize: bool, leave_one_out: bool) -> Tensor:
    """How much better each completion did than the others of its prompt: (P, G) to the same.

    The baseline is the mean of the group, or that of the other G - 1 (RLOO, arXiv 2402.14740); `normalize` divides by
    the group's standard deviation (2402.03300, section 4.1.2). A group of equal rewards teaches nothing: 0.
    """
    n = rewards.shape[1]
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    if leave_one_out:
        advantages = advantages * (n / (n - 1))  # r - (sum - r) / (n - 1)
    spread = rewards.std(dim=1, keepdim=True, correction=0)
    scale = spread if normalize else torch.ones_like(spread)
    return torch.where(spread > 1e-6, advantages / scale, 0.0)


def k3(log_probs: Tensor, reference: Tensor) -> Tensor:
    """KL(policy || reference) per token from one draw of the policy: never below 0, low variance."""
    difference = reference - log_probs
    return torch.expm1(difference) - difference


class LossTerms(NamedTuple):
    """Means over the tokens of a minibatch; `loss` carries the gradient."""

    loss: Tensor
    kl: Tensor
    entropy: Tensor
    clip_fraction: Tensor  # the share of tokens whose ratio the clip cut off


def policy_loss(
    log_probs: Tensor,
    entropy: Tensor,
    rollout_log_probs: Tensor,
    reference_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_min: float,
    clip_max: float,
    kl_penalty: float,
    entropy_coef: float,
) -> LossTerms:
    """Clipped surrogate, KL penalty and entropy bonus, as means over tokens: all (b, L), but advantages (b,)."""

    def mean(x: Tensor) -> Tensor:
        return (x * mask).sum() / mask.sum()

    ratio = (log_probs - rollout_log_probs).exp()
    clipped = ratio.clamp(1 - clip_min, 1 + clip_max)
    surrogate = torch.minimum(ratio * advantages[:, None], clipped * advantages[:, None])
    kl = k3(log_probs, reference_log_probs)
    loss = mean(kl_penalty * kl - surrogate - entropy_coef * entropy)
    return LossTerms(loss, mean(kl.detach()), mean(entropy.detach()), mean((ratio != clipped).float()))


# --- The base: a policy that has been taught a little, as one that comes from pretraining ----------------------------

BASE_SEED = 7
BASE_STEPS = 80
BASE_BATCH = 64
BASE_LR = 1.2e-3
BASE_NOISE = 0.25  # the share of wrong digits in what it is taught with


def teach_base(numbers: Tensor) -> Policy:
    """Supervised learning on noisy solutions: a policy that often knows, and is never sure."""
    generator = torch.Generator().manual_seed(BASE_SEED)
    policy = Policy()
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(
                    std=parameter.shape[1] ** -0.5 if "position" not in name else 0.1, generator=generator
                )
            elif "bias" in name:
                parameter.zero_()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=BASE_LR, fused=True)
    for step in range(BASE_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = BASE_LR * min(1.0, (step + 1) / 10)
        batch = draw(numbers, BASE_BATCH, generator)
        targets = solve(batch)
        noisy = torch.rand(BASE_BATCH, N_DIGITS, generator=generator) < BASE_NOISE
        wrong = torch.randint(10, (BASE_BATCH, N_DIGITS), generator=generator)
        targets[:, :N_DIGITS] = torch.where(noisy, wrong, targets[:, :N_DIGITS])
        log_probs, _ = log_probs_and_entropy(policy, batch, targets, temperature=1.0)
        optimizer.zero_grad()
        (-log_probs.mean()).backward()
        optimizer.step()
    return policy


def base_path() -> Path:
    """Where the base is kept; its name changes with anything that could change the base."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    origin = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    return cache / "rltune" / "grpo_digits" / f"base-{origin}.pt"


def load_base(numbers: Tensor) -> Policy:
    """The base, from its file where there is a good one. A lost or broken cache costs two seconds, never a run."""
    path = base_path()
    policy = Policy()
    try:
        policy.load_state_dict(torch.load(path, weights_only=True))
        return policy
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError):
        policy = teach_base(numbers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_atomically(policy.state_dict(), path)
    except OSError:
        pass  # a read-only home: the next run teaches its own
    return policy


def save_atomically(state: object, path: Path) -> None:
    """Writes beside, then renames: a reader sees the old file or the new one, whoever else writes at the same time."""
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(state, file)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
