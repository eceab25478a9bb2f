"""Trains a tiny language model to sort digits with TRL's GRPOTrainer, on one core and without a network.

    python train.py                                                      one run with TRL's defaults
    python train.py --learning_rate 1e-4 --beta 0.04 --num_generations 16

The arguments are those of TRL's GRPOConfig; OURS says which of them have another default here. The model, its tokenizer
and the data are made on the spot, so nothing is downloaded. Metrics go where TRL writes them, to TensorBoard.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer, TrlParser

OURS: dict[str, Any] = {
    "output_dir": "output",
    "use_cpu": True,
    "bf16": False,  # true in TRL, and slow on most CPUs
    "max_steps": 100,
    "per_device_train_batch_size": 128,  # completions of a step; TRL counts these, not prompts
    "max_completion_length": 7,
    "eval_strategy": "steps",
    "eval_steps": 10,
    "eval_on_start": True,
    "num_generations_eval": 1,  # otherwise every group size would have to divide the evaluation's batch as well
    "logging_steps": 5,
    "logging_nan_inf_filter": False,  # otherwise the mean of the last losses is logged where a loss is NaN
    "report_to": "tensorboard",
    "save_strategy": "no",
    "disable_tqdm": True,
}
"""Defaults of this job. Whatever is not here has TRL's own: `learning_rate` 1e-6, `beta` 0, `temperature` 1."""

DIGITS = 6
N_TRAIN, N_HELD_OUT = 20_000, 256
BASE_STEPS, BASE_BATCH, BASE_NOISE = 60, 128, 0.25


# --- The task ---------------------------------------------------------------------------------------------------------


def split() -> tuple[list[str], list[str]]:
    """Prompts to train on and prompts held out, `"482615="`; the same in every run."""
    numbers = random.Random(0).sample(range(10**DIGITS), N_TRAIN + N_HELD_OUT)
    prompts = [f"{number:0{DIGITS}}=" for number in numbers]
    return prompts[N_HELD_OUT:], prompts[:N_HELD_OUT]


def answer(prompt: str) -> str:
    return "".join(sorted(prompt[:DIGITS]))


def rows(prompts: list[str]) -> Dataset:
    return Dataset.from_dict({"prompt": prompts, "answer": [answer(prompt) for prompt in prompts]})


def exact_match(completions: list[str], answer: list[str], **_: Any) -> list[float]:
    """The reward: 1 for the right digits, else 0."""
    return [float(given == right) for given, right in zip(completions, answer, strict=True)]


# --- The base model ---------------------------------------------------------------------------------------------------


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A token for each character."""
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<end>", "<unknown>", "=", *"0123456789"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unknown>", padding_side="left"
    )


def make_base() -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """A model of 130,000 parameters that has seen the task, but not learned it: some of what it saw was wrong."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=32,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    rng = random.Random(0)
    prompts, _ = split()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(BASE_STEPS):
        batch = rng.sample(prompts, BASE_BATCH)
        texts = [f"{prompt}{noisy_answer(prompt, rng)}<end>" for prompt in batch]
        tokens = tokenizer(texts, return_tensors="pt").input_ids
        labels = tokens.clone()
        labels[:, : DIGITS + 1] = -100  # the prompt itself is not to be learned
        optimizer.zero_grad()
        model(input_ids=tokens, labels=labels).loss.backward()
        optimizer.step()
    return model, tokenizer


def noisy_answer(prompt: str, rng: random.Random) -> str:
    return "".join(rng.choice("0123456789") if rng.random() < BASE_NOISE else digit for digit in answer(prompt))


def base_folder() -> Path:
    """Where the base is kept; the name changes with anything that could change the base."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    origin = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    return cache / "trl_grpo" / f"base-{origin}"


def saved_base() -> Path:
    """The folder of the base, made in a few seconds where it is not there yet."""
    folder = base_folder()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        made = Path(beside) / "base"
        for part in make_base():
            part.save_pretrained(made)
        try:
            made.rename(folder)  # whole, or not at all: runs that start together never read a half
        except OSError:
            if not folder.is_dir():  # another run was faster otherwise, with the same base
                raise
    return folder


# --- The run ----------------------------------------------------------------------------------------------------------


class SortingTrainer(GRPOTrainer):
    """TRL's trainer, whose evaluation is greedy: its own would sample, and so move with the temperature."""

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Logs `eval/accuracy`, the share of prompts whose likeliest completion is the right answer."""
        self.model.eval()  # tells TRL's log that these are no metrics of training
        completions = greedy(self.model, self.processing_class, self.eval_dataset["prompt"])
        matches = exact_match(completions, self.eval_dataset["answer"])
        metrics = {"eval_accuracy": sum(matches) / len(matches)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


@torch.no_grad()
def greedy(model: Any, tokenizer: Any, prompts: list[str]) -> list[str]:
    """The likeliest completion of each prompt; all prompts are equally long."""
    tokens = tokenizer(list(prompts), return_tensors="pt").input_ids
    written = model.generate(
        input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=DIGITS + 1, do_sample=False
    )
    return tokenizer.batch_decode(written[:, tokens.shape[1] :], skip_special_tokens=True)


def main() -> None:
    torch.set_num_threads(1)  # runs are tuned side by side, and one thread makes a seed mean the same bits everywhere
    parser = TrlParser(GRPOConfig)
    parser.set_defaults(**OURS)
    (config,) = parser.parse_args_and_config()
    training, held_out = split()
    base = saved_base()
    trainer = SortingTrainer(
        model=str(base),  # by its path, so that the reference model of `beta` above 0 is found there too
        processing_class=AutoTokenizer.from_pretrained(base, padding_side="left"),
        reward_funcs=exact_match,
        args=config,
        train_dataset=rows(training),
        eval_dataset=rows(held_out),
    )
    trainer.train()


if __name__ == "__main__":
    main()
