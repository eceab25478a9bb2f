"""The demo's training job: the algorithm against slower formulas, the run as a whole on small budgets."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

torch = pytest.importorskip("torch")

EXAMPLE = Path(__file__).parents[2] / "examples" / "grpo_digits"
sys.path.insert(0, str(EXAMPLE))

import grpo  # noqa: E402
import train  # noqa: E402

SMALL = {"grpo.max_samples": 1024, "grpo.val_period": 256}
QUICK_LEARNER = {
    "grpo.max_samples": 4096,
    "grpo.num_generations_per_prompt": 4,
    "grpo.num_prompts_per_step": 64,
    "policy.generation.temperature": 0.6,
}


@pytest.fixture(autouse=True)
def _one_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("RLTUNE_METRICS", raising=False)


@pytest.fixture(scope="module")
def prompts() -> grpo.Prompts:
    return grpo.split_prompts()


@pytest.fixture
def base(prompts: grpo.Prompts) -> grpo.Policy:
    return grpo.load_base(prompts.training)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config(**overrides: Any) -> dict[str, Any]:
    return {**train.flatten(YAML(typ="safe", pure=True).load(EXAMPLE / "config.yaml")), **overrides}


@dataclass
class Trial:
    directory: Path
    seed: int = 0
    resume_from: Path | None = None
    stop_at: int | None = None
    reports: list[tuple[int, dict[str, float], Path | None]] = field(default_factory=list)

    def report(self, step: int, metrics: dict[str, float], checkpoint: Path | None = None) -> None:
        self.reports.append((step, dict(metrics), checkpoint))
        if step == self.stop_at:
            raise StoppedError


class StoppedError(BaseException):
    """As rltune's TrialStopped: not an Exception."""


class TestTask:
    def test_the_score_knows_right_sorted_and_malformed(self) -> None:
        prompt = torch.tensor([[4, 8, 2, 6, 1, 5, grpo.EQUALS]]).repeat(5, 1)
        completions = torch.tensor(
            [
                [1, 2, 4, 5, 6, 8, grpo.END],
                [1, 1, 1, 1, 1, 1, grpo.END],
                [1, 2, 4, 5, 8, 6, grpo.END],
                [1, 2, 4, 5, 6, 8, 8],
                [1, 2, 4, 5, grpo.END, grpo.END, grpo.END],
            ]
        )
        assert grpo.score(prompt, completions).exact.tolist() == [1, 0, 0, 0, 0]
        assert grpo.score(prompt, completions).well_formed.tolist() == [1, 1, 0, 0, 0]

    def test_a_solution_is_right(self, prompts: grpo.Prompts) -> None:
        assert grpo.score(prompts.validation, grpo.solve(prompts.validation)).exact.min() == 1

    def test_validation_prompts_are_never_trained_on(self, prompts: grpo.Prompts) -> None:
        held_out = (prompts.validation[:, : grpo.N_DIGITS] * 10 ** torch.arange(grpo.N_DIGITS)).sum(dim=1)
        assert not torch.isin(held_out, prompts.training).any()
        assert len(prompts.training) + len(held_out) == 10**grpo.N_DIGITS


@pytest.mark.slow
class TestPolicy:
    def test_has_about_a_hundred_thousand_parameters(self) -> None:
        assert 90_000 < sum(p.numel() for p in grpo.Policy().parameters()) < 110_000

    def test_cached_logits_are_those_of_the_whole_sequence(self, base: grpo.Policy, prompts: grpo.Prompts) -> None:
        tokens = torch.cat([prompts.validation[:16], grpo.solve(prompts.validation[:16])], dim=1)
        whole, _ = base(tokens)
        logits, cache = base(tokens[:, : grpo.PROMPT])
        stepwise = [logits]
        for position in range(grpo.PROMPT, tokens.shape[1]):
            logits, cache = base(tokens[:, position : position + 1], cache)
            stepwise.append(logits)
        torch.testing.assert_close(torch.cat(stepwise, dim=1), whole, rtol=1e-4, atol=1e-5)

    def test_log_probs_of_a_rollout_are_those_of_the_policy(self, base: grpo.Policy, prompts: grpo.Prompts) -> None:
        rollout = grpo.generate(base, prompts.validation[:8], 4, 0.7, generator())
        repeated = prompts.validation[:8].repeat_interleave(4, dim=0)
        log_probs, entropy = grpo.log_probs_and_entropy(base, repeated, rollout.completions, 0.7)
        torch.testing.assert_close(log_probs, rollout.log_probs, rtol=1e-4, atol=1e-5)
        assert entropy.min() >= 0
        assert entropy.max() <= math.log(grpo.VOCABULARY) + 1e-6

    def test_draws_follow_the_probabilities(self, base: grpo.Policy, prompts: grpo.Prompts) -> None:
        rollout = grpo.generate(base, prompts.validation[:1], 4_000, 1.3, generator())
        logits, _ = base(prompts.validation[:1])
        expected = (logits[0, -1] / 1.3).softmax(dim=0)
        drawn = torch.bincount(rollout.completions[:, 0], minlength=grpo.VOCABULARY) / 4_000
        torch.testing.assert_close(drawn, expected.detach(), rtol=0, atol=0.03)

    def test_the_mask_ends_with_the_first_end_token(self, base: grpo.Policy, prompts: grpo.Prompts) -> None:
        rollout = grpo.generate(base, prompts.validation[:64], 4, 3.0, generator())  # hot: many end early
        for completion, mask in zip(rollout.completions.tolist(), rollout.mask.tolist(), strict=True):
            n = completion.index(grpo.END) + 1 if grpo.END in completion else grpo.COMPLETION
            assert mask == [1.0] * n + [0.0] * (grpo.COMPLETION - n)


class TestAlgorithm:
    REWARDS = torch.tensor([[1.0, 0.0, 0.0, 0.1], [0.1, 0.1, 0.1, 0.1]])

    def test_advantages_are_the_distance_from_the_group_in_its_standard_deviations(self) -> None:
        given = grpo.group_advantages(self.REWARDS, normalize=True, leave_one_out=False)
        mean, spread = self.REWARDS[0].mean(), self.REWARDS[0].std(correction=0)
        torch.testing.assert_close(given[0], (self.REWARDS[0] - mean) / spread)

    def test_leave_one_out_compares_with_the_others(self) -> None:
        given = grpo.group_advantages(self.REWARDS, normalize=False, leave_one_out=True)
        others = [(1.1 - r) / 3 for r in self.REWARDS[0].tolist()]
        torch.testing.assert_close(given[0], self.REWARDS[0] - torch.tensor(others))

    @pytest.mark.parametrize("normalize", [True, False])
    @pytest.mark.parametrize("leave_one_out", [True, False])
    def test_a_group_of_equal_rewards_teaches_nothing(self, normalize: bool, leave_one_out: bool) -> None:
        given = grpo.group_advantages(self.REWARDS, normalize=normalize, leave_one_out=leave_one_out)
        assert given[1].tolist() == [0, 0, 0, 0]

    def test_k3_is_never_negative_and_zero_where_policies_agree(self) -> None:
        log_probs, reference = torch.randn(2, 1000, generator=generator())
        assert grpo.k3(log_probs, reference).min() >= 0
        assert grpo.k3(log_probs, log_probs).abs().max() == 0

    def test_the_mean_of_k3_is_the_kl_divergence(self) -> None:
        p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
        exact = (p * (p.log() - q.log())).sum()
        torch.testing.assert_close((p * grpo.k3(p.log(), q.log())).sum(), exact)

    def loss(self, ratio: float, advantage: float, **changes: float) -> grpo.LossTerms:
        one = torch.ones(1, 1)
        arguments = {"clip_min": 0.2, "clip_max": 0.3, "kl_penalty": 0.0, "entropy_coef": 0.0, **changes}
        log_probs = (one * ratio).log()
        return grpo.policy_loss(log_probs, one * 0.7, one * 0, one * 0, one[0] * advantage, one, **arguments)

    @pytest.mark.parametrize(
        ("ratio", "advantage", "expected"),
        [(1.0, 2.0, -2.0), (1.5, 1.0, -1.3), (0.5, 1.0, -0.5), (0.5, -1.0, 0.8), (1.5, -1.0, 1.5)],
    )
    def test_the_clip_takes_the_worse_of_two(self, ratio: float, advantage: float, expected: float) -> None:
        assert self.loss(ratio, advantage).loss.item() == pytest.approx(expected)

    def test_kl_costs_and_entropy_pays(self) -> None:
        assert self.loss(1.0, 0.0, entropy_coef=0.5).loss.item() == pytest.approx(-0.35)
        penalised = self.loss(1.5, 0.0, kl_penalty=2.0)
        assert penalised.loss.item() == pytest.approx(2 * (1 / 1.5 - 1 + math.log(1.5)))

    def test_masked_tokens_do_not_count(self) -> None:
        both, mask = torch.tensor([[0.0, 9.0]]), torch.tensor([[1.0, 0.0]])
        off = {"clip_min": 0.2, "clip_max": 0.2, "kl_penalty": 1.0, "entropy_coef": 1.0}
        terms = grpo.policy_loss(both, both, both * 0, both * 0, torch.ones(1), mask, **off)
        assert terms.loss.item() == -1
        assert terms.kl.item() == terms.entropy.item() == terms.clip_fraction.item() == 0


@pytest.mark.slow
class TestBase:
    def test_knows_something_and_not_too_much(self, base: grpo.Policy, prompts: grpo.Prompts) -> None:
        assert 0.3 < grpo.validate(base, prompts.validation) < 0.6

    def test_is_the_same_from_the_cache_and_anew(self, base: grpo.Policy, prompts: grpo.Prompts) -> None:
        assert grpo.base_path().exists()
        anew = grpo.teach_base(prompts.training)
        assert all(torch.equal(a, b) for a, b in zip(base.parameters(), anew.parameters(), strict=True))

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", None], ids=["empty", "garbage", "truncated"])
    def test_a_broken_cache_is_made_anew(
        self, content: bytes | None, base: grpo.Policy, prompts: grpo.Prompts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = grpo.base_path().read_bytes()
        grpo.base_path().write_bytes(whole[: len(whole) // 2] if content is None else content)
        monkeypatch.setattr(grpo, "teach_base", lambda _: base)  # the real one takes a second
        again = grpo.load_base(prompts.training)
        assert torch.equal(again.head.weight, base.head.weight)
        assert torch.load(grpo.base_path(), weights_only=True).keys() == base.state_dict().keys()
        assert [path.name for path in grpo.base_path().parent.iterdir()] == [grpo.base_path().name]

    def test_an_unwritable_cache_is_no_error(
        self, base: grpo.Policy, prompts: grpo.Prompts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # a file where a folder should be
        monkeypatch.setattr(grpo, "teach_base", lambda _: base)
        assert grpo.load_base(prompts.training) is base


class TestRun:
    def test_learns(self, tmp_path: Path, base: grpo.Policy, prompts: grpo.Prompts) -> None:
        trial = Trial(tmp_path)
        final = train.train(config(**QUICK_LEARNER), trial)
        assert final["validation/accuracy"] > grpo.validate(base, prompts.validation) + 0.05
        assert final["train/reward"] > trial.reports[0][1]["train/reward"] + 0.05

    def test_reports_every_period_and_returns_the_last(self, tmp_path: Path) -> None:
        trial = Trial(tmp_path)
        final = train.train(config(**SMALL), trial)
        assert [step for step, _, _ in trial.reports] == [256, 512, 768, 1024]
        assert final == trial.reports[-1][1]
        assert {"train/loss", "train/reward", "train/exact_match", "train/kl", "train/entropy"} <= final.keys()
        assert {"train/grad_norm", "train/lr", "train/samples", "train/zero_std_fraction"} <= final.keys()
        assert all(isinstance(value, int | float) for value in final.values())

    @pytest.mark.parametrize("prompts_per_step", [4, 16, 32])
    def test_steps_are_the_same_whatever_the_batch(self, prompts_per_step: int, tmp_path: Path) -> None:
        trial = Trial(tmp_path)
        shape = {"grpo.num_prompts_per_step": prompts_per_step, "grpo.max_samples": 1024, "grpo.val_period": 512}
        train.train(config(**shape), trial)
        assert [step for step, _, _ in trial.reports] == [512, 1024]

    def test_a_seed_gives_the_same_bits_and_another_does_not(self, tmp_path: Path) -> None:
        one, two, other = Trial(tmp_path, seed=3), Trial(tmp_path, seed=3), Trial(tmp_path, seed=4)
        for trial in (one, two, other):
            train.train(config(**SMALL), trial)
        assert one.reports == two.reports
        assert one.reports != other.reports

    def test_the_seed_is_the_trials_not_the_configs(self, tmp_path: Path) -> None:
        one, two = Trial(tmp_path, seed=3), Trial(tmp_path, seed=3)
        train.train(config(**SMALL), one)
        train.train(config(**SMALL, **{"grpo.seed": 7}), two)
        assert one.reports == two.reports

    @pytest.mark.parametrize("schedule", ["constant", "cosine"])
    def test_a_resumed_run_is_the_run_that_was_not_interrupted(self, schedule: str, tmp_path: Path) -> None:
        saving = {"checkpointing.enabled": True, "checkpointing.save_period": 512, "policy.scheduler.name": schedule}
        whole, stopped = Trial(tmp_path / "whole"), Trial(tmp_path / "stopped", stop_at=512)
        final = train.train(config(**SMALL, **saving), whole)
        with pytest.raises(StoppedError):
            train.train(config(**SMALL, **saving), stopped)
        checkpoint = stopped.reports[-1][2]
        assert checkpoint is not None
        assert checkpoint.is_relative_to(tmp_path / "stopped")
        resumed = Trial(tmp_path / "resumed", seed=99, resume_from=checkpoint)
        assert train.train(config(**SMALL, **saving), resumed) == final
        assert [r[:2] for r in stopped.reports + resumed.reports] == [r[:2] for r in whole.reports]
        last, again = whole.reports[-1][2], resumed.reports[-1][2]
        assert saved_bits(last) == saved_bits(again)

    def test_a_run_resumed_at_its_end_has_its_result(self, tmp_path: Path) -> None:
        saving = {"checkpointing.enabled": True, "checkpointing.save_period": 1024}
        trial = Trial(tmp_path)
        final = train.train(config(**SMALL, **saving), trial)
        again = Trial(tmp_path, resume_from=trial.reports[-1][2])
        assert train.train(config(**SMALL, **saving), again) == final
        assert again.reports == []

    def test_a_diverged_run_says_so(self, tmp_path: Path) -> None:
        trial = Trial(tmp_path)
        final = train.train(
            config(**SMALL, **{"policy.optimizer.kwargs.lr": 1e30, "policy.max_grad_norm": math.inf}), trial
        )
        assert math.isnan(final["train/loss"])
        assert final["validation/accuracy"] == 0

    def test_warm_up_and_cosine(self) -> None:
        constant = train.read_config(config(**{"policy.scheduler.warmup_steps": 3, "policy.optimizer.kwargs.lr": 1.0}))
        assert [train.learning_rate(constant, step) for step in (1, 2, 3, 4, 40)] == [0.25, 0.5, 0.75, 1.0, 1.0]
        cosine = train.read_config(
            config(
                **{
                    "policy.scheduler.name": "cosine",
                    "policy.scheduler.warmup_steps": 0,
                    "policy.optimizer.kwargs.lr": 1.0,
                }
            )
        )
        assert train.learning_rate(cosine, 1) == pytest.approx(1.0)
        assert train.learning_rate(cosine, cosine.steps + 1) == pytest.approx(0.1)


class TestConfig:
    def test_the_file_holds_every_key_and_no_other(self) -> None:
        assert config().keys() == train.KEYS.keys()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"policy.optimizer.lr": 1e-3},
                "unknown key policy.optimizer.lr; did you mean policy.optimizer.kwargs.lr?",
            ),
            ({"grpo.seed": "a"}, "grpo.seed must be a whole number, got 'a'"),
            ({"grpo.seed": True}, "grpo.seed must be a whole number, got True"),
            ({"grpo.ppo_epochs": 1.5}, "grpo.ppo_epochs must be a whole number, got 1.5"),
            ({"policy.optimizer.kwargs.lr": "1e-5"}, "policy.optimizer.kwargs.lr must be a number, got '1e-5'"),
            ({"grpo.normalize_rewards": 1}, "grpo.normalize_rewards must be true or false, got 1"),
            ({"policy.scheduler.name": "linear"}, "policy.scheduler.name must be constant or cosine, got 'linear'"),
            ({"policy.generation.temperature": 0.0}, "policy.generation.temperature must be above 0, got 0.0"),
            ({"policy.optimizer.kwargs.lr": math.nan}, "policy.optimizer.kwargs.lr must be at least 0, got nan"),
            ({"grpo.num_generations_per_prompt": 1}, "grpo.num_generations_per_prompt must be at least 2, got 1"),
            (
                {"policy.train_global_batch_size": 96},
                "grpo.num_prompts_per_step * grpo.num_generations_per_prompt (256) must be a multiple of policy.train",
            ),
            ({"grpo.val_period": 300}, "grpo.val_period (300) must be a multiple of"),
            ({"grpo.max_samples": 1500}, "grpo.max_samples (1500) must be a multiple of grpo.val_period (1024)"),
            (
                {"checkpointing.enabled": True, "checkpointing.save_period": 1000},
                "checkpointing.save_period (1000) must be a multiple of grpo.val_period (1024)",
            ),
        ],
    )
    def test_a_wrong_one_is_refused_before_training(self, change: dict[str, Any], message: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            train.train(config(**change), Trial(tmp_path))

    def test_all_mistakes_come_at_once(self, tmp_path: Path) -> None:
        wrong = config(**{"grpo.sed": 1, "grpo.val_period": "often"})
        del wrong["env.format_bonus"]
        with pytest.raises(ValueError) as raised:
            train.train(wrong, Trial(tmp_path))
        assert str(raised.value) == (
            "unknown key grpo.sed; did you mean grpo.seed?; env.format_bonus is missing; "
            "grpo.val_period must be a whole number, got 'often'"
        )

    def test_numbers_of_other_libraries_are_numbers(self) -> None:
        numpy = pytest.importorskip("numpy")
        given = train.read_config(
            config(**{"policy.optimizer.kwargs.lr": numpy.float64(1e-4), "grpo.seed": numpy.int64(5)})
        )
        assert type(given.lr) is float
        assert type(given.seed) is int

    def test_the_study_tunes_keys_that_exist(self) -> None:
        study = YAML(typ="safe", pure=True).load(EXAMPLE / "study.yaml")
        assert set(study["search_space"]) | set(study["derived"]) <= train.KEYS.keys()
        assert study["trainer"]["horizon"] == config()["grpo.max_samples"]
        for name, parameter in study["search_space"].items():
            default = config()[name]
            if "choices" in parameter:
                assert default in parameter["choices"]
            else:
                assert parameter["min"] <= default <= parameter["max"]


class TestCommandLine:
    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(EXAMPLE / "train.py"), *arguments]
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
        )

    def test_prints_and_writes_a_line_per_report(self, tmp_path: Path) -> None:
        metrics = tmp_path / "metrics.jsonl"
        metrics.write_text('{"step": 0}\n')
        ended = self.run(
            f"--config={EXAMPLE / 'config.yaml'}",
            "policy.optimizer.kwargs.lr=1e-5",
            "grpo.max_samples=512",
            "grpo.val_period=256",
            "grpo.seed=3",
            RLTUNE_METRICS=str(metrics),
        )
        assert ended.returncode == 0, ended.stderr
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        assert [row["step"] for row in rows] == [0, 256, 512]
        assert rows[1]["train/lr"] == pytest.approx(1e-5 / 5)  # warming up
        assert len(ended.stdout.splitlines()) == 2
        trial = Trial(tmp_path, seed=3)
        small = {"policy.optimizer.kwargs.lr": 1e-5, "grpo.max_samples": 512, "grpo.val_period": 256}
        train.train(config(**small), trial)
        assert [{"step": step, **measured} for step, measured, _ in trial.reports] == rows[1:]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["grpo.sed=1"], "unknown key grpo.sed; did you mean grpo.seed?"),
            (["grpo.seed"], "an override is key.path=value, got 'grpo.seed'"),
            (["grpo.seed=[1"], "while parsing a flow sequence"),
            (["--config", "nowhere.yaml"], "No such file"),
        ],
    )
    def test_a_mistake_is_one_line(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert train.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line

    def test_checkpoints_can_be_resumed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        small = ["grpo.val_period=256", "checkpointing.enabled=true", "checkpointing.save_period=256"]
        assert train.main(["grpo.max_samples=256", *small]) == 0
        assert train.main(["grpo.max_samples=512", "--resume-from", "checkpoints/samples_256.pt", *small]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("samples    256")
        assert second.startswith("samples    512")


def saved_bits(path: Path | None) -> str:
    assert path is not None
    return repr({name: bits(value) for name, value in torch.load(path, weights_only=True).items()})


def bits(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    return {name: bits(part) for name, part in value.items()} if isinstance(value, dict) else value
