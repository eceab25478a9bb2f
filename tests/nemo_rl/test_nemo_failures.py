from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rltune.trainers.nemo_rl.failures import End, explain, judge_end
from rltune.trainers.nemo_rl.recipe import Recipe, load_recipe
from rltune.types import Cause

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")

OOM = "ray.exceptions.RayTaskError(OutOfMemoryError): torch.OutOfMemoryError: CUDA out of memory. Tried to allocate"


@pytest.mark.parametrize(
    ("status", "tail", "cause", "again"),
    [
        (1, OOM, Cause.OUT_OF_MEMORY, False),
        (1, f"NCCL error: unhandled cuda error\n{OOM}", Cause.OUT_OF_MEMORY, False),
        (1, "ValueError: No available memory for the cache blocks.", Cause.OUT_OF_MEMORY, False),
        (
            1,
            "The model's max seq len (4096) is larger than the maximum number of tokens that can be stored in KV cache",
            Cause.OUT_OF_MEMORY,
            False,
        ),
        (1, "torch.distributed.DistBackendError: NCCL error: unhandled system error", Cause.LOST, True),
        (1, "RuntimeError: Engine core initialization failed. See root cause above.", Cause.ERROR, False),
        (1, "TimeoutError: Timed out waiting for placement groups to be ready.", Cause.LOST, True),
        (1, "nemo_rl.distributed.virtual_cluster.ResourceInsufficientError: Maximum number", Cause.LOST, True),
        (1, "Failed to connect to GCS within 60 seconds. GCS may have been killed.", Cause.LOST, True),
        (1, "DistNetworkError: The server socket has failed to listen ... name: EADDRINUSE", Cause.LOST, True),
        (1, "OverridesError: Could not override 'policy.lr'.", Cause.IGNORED_KEY, False),
        (1, "2 validation errors for MasterConfig\npolicy.train_global_batch_size", Cause.ERROR, False),
        (1, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 1 DUE TO TIME LIMIT ***", Cause.TIMEOUT, False),
        (15, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 1 DUE TO PREEMPTION ***", Cause.LOST, True),
        (15, "", Cause.LOST, True),
        (143, "Engine core proc EngineCore_0 failed", Cause.LOST, True),
        (-15, "", Cause.LOST, True),
        (-9, "", Cause.LOST, False),
        (1, "KeyError: 'keep_top_k'", Cause.ERROR, False),
        (2, "", Cause.ERROR, False),
    ],
)
def test_causes(status: int, tail: str, cause: Cause, again: bool) -> None:
    found = explain(status, f"a line before\n{tail}\na line behind")
    assert (found.cause, found.again) == (cause, again)


def test_the_message_quotes_the_line_that_says_it() -> None:
    found = explain(1, "...\nValueError: NCCL error: unhandled system error\n...")
    assert found.message.endswith("(exit status 1): ValueError: NCCL error: unhandled system error")
    assert explain(15, "").message == "sent TERM from outside, as when it is preempted (exit status 15)"


class TestExitStatus0:
    @pytest.fixture
    def recipe(self, tmp_path: Path) -> Recipe:
        file = tmp_path / "recipe.yaml"
        file.write_text(
            "grpo: {max_num_steps: 8, stop_at_validation_metric: null}\n"
            "policy: {dtensor_cfg: {enabled: true}}\n"
            "checkpointing: {checkpoint_must_save_by: null}\n"
        )
        return load_recipe(file)

    def judge(self, recipe: Recipe, done: int, tail: str = "", **keys: Any) -> End:
        return judge_end(recipe.with_overrides({k.replace("__", "."): v for k, v in keys.items()}), done, tail)

    def test_at_the_last_step(self, recipe: Recipe) -> None:
        assert self.judge(recipe, 8) == End()
        assert self.judge(recipe, 0, "========== Step 8/8 ==========") == End()
        assert self.judge(recipe, 3, grpo__max_num_steps=-1) == End()  # by epochs alone

    def test_no_step_at_all(self, recipe: Recipe) -> None:
        assert "neither its metrics nor its output show a single" in self.judge(recipe, 0).problem

    def test_too_early(self, recipe: Recipe) -> None:
        end = self.judge(recipe, 5, "===== Step 5/8 =====\n")
        assert end.problem == (
            "it exited with 0, but ended after 5 of 8 steps; the last marker in its output is `Step 5/8`"
        )

    def test_a_time_limit_only_where_there_is_one(self, recipe: Recipe) -> None:
        tail = "Timeout has been reached, stopping training early"
        assert self.judge(recipe, 5, tail).problem
        end = self.judge(recipe, 5, tail, checkpointing__checkpoint_must_save_by="00:01:00:00")
        assert (end.problem, "checkpoint_must_save_by" in end.note) == ("", True)

    def test_an_early_stop_that_was_asked_for(self, recipe: Recipe) -> None:
        end = self.judge(recipe, 5, grpo__stop_at_validation_metric="accuracy")
        assert (end.problem, "stop_at_validation_metric" in end.note) == ("", True)

    def test_the_end_of_the_data(self, recipe: Recipe) -> None:
        end = self.judge(recipe, 5, "===== Step 4/5 =====\n===== Step 5/5 =====\n")
        assert (end.problem, "end of the data" in end.note) == ("", True)
