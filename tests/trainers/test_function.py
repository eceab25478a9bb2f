from __future__ import annotations

import asyncio
import functools
import math
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rltune.trainers.context as context
from rltune.errors import Problem, TrainerError
from rltune.trainers.context import Trial, current_trial, report
from rltune.trainers.function import FunctionTrainer, load_function, signature_problem
from rltune.types import Measurement, Suggestion, TrialStopped

Suggest = Callable[..., Suggestion]


def ignore(_measurement: Measurement) -> None:
    pass


class TestCalling:
    def test_recognised_parameters_come_by_name_in_any_order(self, suggest: Suggest) -> None:
        def train(config: dict[str, Any], fold: int, seed: int, *, trial: Trial, n_folds: int) -> dict[str, float]:
            assert (fold, n_folds, seed, trial.number) == (1, 5, 11, 7)
            assert (trial.fold, trial.n_folds, trial.seed, trial.params) == (1, 5, 11, {"lr": 0.5})
            return {"lr": config["lr"]}

        assert FunctionTrainer(train)(suggest({"lr": 0.5}, fold=1, n_folds=5), ignore) == {"lr": 0.5}

    def test_the_trial_knows_its_surroundings(self, suggest: Suggest) -> None:
        def train(config: dict[str, Any], trial: Trial) -> None:
            assert trial.directory.name == "trial 0007"
            assert (trial.horizon, trial.resume_from) == (30, Path("step_10"))

        FunctionTrainer(train)(suggest(horizon=30, resume_from=Path("step_10")), ignore)

    def test_parameters_with_defaults_are_left_alone(self, suggest: Suggest) -> None:
        def train(config: dict[str, Any], verbose: bool = False, *args: Any, fold: int | None = 9, **kw: Any) -> float:
            return float((verbose, args, fold, kw) == (False, (), None, {}))

        assert FunctionTrainer(train, metric_names=["same"])(suggest(), ignore) == {"same": 1.0}

    @pytest.mark.parametrize(
        "callable_",
        [
            functools.partial(lambda scale, config: scale * config["lr"], 2),
            functools.partial(lambda config, scale: scale * config["lr"], scale=2),
            type("Callable", (), {"__call__": lambda self, config, seed: 2 * config["lr"]})(),
            lambda config: 2 * config["lr"],
        ],
        ids=["partial", "partial-keyword", "object", "lambda"],
    )
    def test_other_callables(self, callable_: Callable[..., Any], suggest: Suggest) -> None:
        trainer = FunctionTrainer(callable_, metric_names=["loss"])
        assert trainer(suggest({"lr": 0.5}), ignore) == {"loss": 1.0}

    def test_async_functions_run_to_their_end(self, suggest: Suggest) -> None:
        async def train(config: dict[str, Any]) -> float:
            await asyncio.sleep(0)
            report(1, loss=1)
            return 0.5

        seen: list[Measurement] = []
        assert FunctionTrainer(train, metric_names=["loss"])(suggest(), seen.append) == {"loss": 0.5}
        assert [m.step for m in seen] == [1]

    def test_async_functions_can_be_stopped(self, suggest: Suggest) -> None:
        async def train(config: dict[str, Any], trial: Trial) -> None:
            trial.report(loss=1)

        def stop(_measurement: Measurement) -> None:
            raise TrialStopped

        with pytest.raises(TrialStopped):
            FunctionTrainer(train)(suggest(), stop)

    def test_generators_report_what_they_yield(self, suggest: Suggest) -> None:
        def train(config: dict[str, Any]) -> Iterator[Any]:
            yield {"loss": 3}
            yield {"step": 10, "loss": 2, "checkpoint": Path("a")}
            yield 1
            return 0.5

        seen: list[Measurement] = []
        assert FunctionTrainer(train, metric_names=["loss"])(suggest(), seen.append) == {"loss": 0.5}
        assert seen == [Measurement(1, {"loss": 3}), Measurement(10, {"loss": 2}, 0, "a"), Measurement(11, {"loss": 1})]

    def test_a_generator_that_is_stopped_cleans_up(self, suggest: Suggest) -> None:
        cleaned: list[bool] = []

        def train(config: dict[str, Any]) -> Iterator[dict[str, float]]:
            try:
                yield {"loss": 1}
            finally:
                cleaned.append(True)

        def stop(_measurement: Measurement) -> None:
            raise TrialStopped

        with pytest.raises(TrialStopped):
            FunctionTrainer(train)(suggest(), stop)
        assert cleaned == [True]

    @pytest.mark.parametrize(
        ("function", "wrong"),
        [
            (lambda: 0, "takes no config as its first parameter"),
            (lambda *, config: 0, "takes no config as its first parameter"),
            (lambda trial: 0, "the first parameter is the config, got `trial`"),
            (lambda config, epochs, lr: 0, "nothing is known to pass as `epochs`, `lr`"),
            (lambda config, *, device: 0, "nothing is known to pass as `device`"),
        ],
    )
    def test_signatures_that_cannot_be_called(self, function: Any, wrong: str, suggest: Suggest) -> None:
        with pytest.raises(TrainerError, match=wrong) as error:
            FunctionTrainer(function)(suggest(), ignore)
        assert "`trial`, `seed`, `fold`, `n_folds`" in str(error.value)
        assert [p.key for p in FunctionTrainer(function).check()] == [("trainer", "function")]

    def test_async_generators_are_refused(self) -> None:
        async def train(config: dict[str, Any]) -> AsyncIterator[float]:
            yield 1.0

        assert "is an async generator" in str(signature_problem(train))

    def test_the_signature_is_named(self) -> None:
        def train_it(config: dict[str, Any], epochs: int) -> None: ...

        assert "train_it(config: 'dict[str, Any]', epochs: 'int') -> 'None' cannot be called" in str(
            signature_problem(train_it)
        )


class TestConfig:
    def test_each_call_gets_a_deep_copy(self, suggest: Suggest) -> None:
        base = {"layers": [1, 2], "optimizer": {"lr": 1.0, "eps": 1e-8}}
        seen = []

        def train(config: dict[str, Any]) -> None:
            seen.append(config["optimizer"] | {"layers": list(config["layers"])})
            config["layers"].append(3)
            config["optimizer"]["eps"] = 0

        trainer = FunctionTrainer(train, base)
        for _ in range(2):
            trainer(suggest({"optimizer.lr": 1e-5}), ignore)
        assert seen == [{"lr": 1e-5, "eps": 1e-8, "layers": [1, 2]}] * 2
        assert base == {"layers": [1, 2], "optimizer": {"lr": 1.0, "eps": 1e-8}}

    def test_check_finds_dotted_names_that_the_base_config_does_not_know(self) -> None:
        trainer = FunctionTrainer(lambda config: 0, {"optimizer": {"lr": 1.0}})
        (problem,) = trainer.check(["optimizer.lr", "optimizer.rl", "new"])
        assert problem == Problem(
            ("search_space", "optimizer.rl"), "the base config has no such key", "did you mean `optimizer.lr`?"
        )
        assert FunctionTrainer(lambda config: 0).check(["a.b"]) == []

    def test_check_asks_for_a_fold_where_there_are_folds(self) -> None:
        assert FunctionTrainer(lambda config, fold: 0).check(needs_folds=True) == []
        assert FunctionTrainer(lambda config, trial: 0).check(needs_folds=True) == []
        (problem,) = FunctionTrainer(lambda config: 0).check(needs_folds=True)
        assert "takes no `fold`" in problem.message


class TestResults:
    def call(self, value: Any, suggest: Suggest, names: tuple[str, ...] = ("loss", "time")) -> Any:
        return FunctionTrainer(lambda config: value, metric_names=names)(suggest(), ignore)

    def test_a_number_is_the_first_objective(self, suggest: Suggest) -> None:
        assert self.call(2, suggest) == {"loss": 2.0}
        assert math.isnan(self.call(math.nan, suggest)["loss"])

    def test_a_tuple_is_the_objectives_in_order(self, suggest: Suggest) -> None:
        assert self.call((1, 2), suggest) == {"loss": 1.0, "time": 2.0}
        for wrong in [(1,), (1, 2, 3), ()]:
            with pytest.raises(TrainerError, match=rf"{len(wrong)} numbers for 2 objectives \(loss, time\)"):
                self.call(wrong, suggest)

    def test_a_mapping_is_metrics(self, suggest: Suggest) -> None:
        assert self.call({"loss": 1, "other": True}, suggest) == {"loss": 1.0, "other": 1.0}

    def test_nothing_is_nothing(self, suggest: Suggest) -> None:
        assert self.call(None, suggest) is None

    def test_anything_else_is_an_error(self, suggest: Suggest) -> None:
        with pytest.raises(TrainerError, match="metric `loss` must be a number, got a str 'done'"):
            self.call("done", suggest)
        with pytest.raises(TrainerError, match="no objective is named: return a mapping"):
            self.call(0.5, suggest, ())


class TestReporting:
    @pytest.mark.parametrize(
        "how",
        [
            lambda trial: trial.report(3, loss=0.5, acc=1),
            lambda trial: trial.report(3, {"loss": 0.5, "acc": 1}),
            lambda trial: trial.report({"loss": 0.5, "acc": 1}, step=3),
            lambda trial: trial.report({"loss": 0.5, "acc": 1, "step": 3}),
            lambda trial: trial.report(step=3, loss=0.5, acc=True),
            lambda trial: report(3.0, {"loss": 0.5}, acc=1),
        ],
    )
    def test_forms(self, how: Callable[[Trial], None], suggest: Suggest) -> None:
        seen: list[Measurement] = []
        FunctionTrainer(lambda config, trial: how(trial))(suggest(), seen.append)
        assert seen == [Measurement(3, {"loss": 0.5, "acc": 1.0})]

    def test_steps_count_on_from_the_last(self, suggest: Suggest) -> None:
        def train(config: dict[str, Any]) -> None:
            report(loss=1)
            report({"loss": 2})
            report(10, loss=3)
            report(loss=4, epoch=2)

        seen: list[Measurement] = []
        FunctionTrainer(train)(suggest(), seen.append)
        assert [m.step for m in seen] == [1, 2, 10, 11]
        assert seen[3].metrics == {"loss": 4, "epoch": 2}

    def test_a_checkpoint_alone_is_worth_a_report(self, suggest: Suggest) -> None:
        seen: list[Measurement] = []
        FunctionTrainer(lambda config, trial: trial.report(1, checkpoint=Path("a")))(suggest(), seen.append)
        assert seen == [Measurement(1, {}, checkpoint="a")]

    @pytest.mark.parametrize(
        ("how", "wrong"),
        [
            (lambda trial: trial.report(1), "no metric"),
            (lambda trial: trial.report(1, 0.5), "a mapping of metrics after the step, got 0.5"),
            (lambda trial: trial.report(1, step=2, loss=1), "two steps: 1 and 2"),
            (lambda trial: trial.report(1.5, loss=1), "whole number from 0 on, got 1.5"),
            (lambda trial: trial.report(-1, loss=1), "whole number from 0 on, got -1"),
            (lambda trial: trial.report("1", loss=1), "metric `step` must be a number, got a str '1'"),
            (lambda trial: trial.report(1, loss=None), "metric `loss` must be a number, got None"),
        ],
    )
    def test_mistakes(self, how: Callable[[Trial], None], wrong: str, suggest: Suggest) -> None:
        with pytest.raises(TrainerError, match=wrong):
            FunctionTrainer(lambda config, trial: how(trial))(suggest(), ignore)

    def test_outside_a_trial_nothing_happens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(context.METRICS_VARIABLE, raising=False)
        assert current_trial() is None
        report(1, loss=0.5)

    def test_threads_of_the_function_report_too(self, suggest: Suggest) -> None:
        def train(config: dict[str, Any]) -> None:
            threads = [threading.Thread(target=report, kwargs={"loss": i}) for i in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        seen: list[Measurement] = []
        FunctionTrainer(train)(suggest(), seen.append)
        assert [m.step for m in seen] == [1, 2, 3, 4, 5]
        assert current_trial() is None

    def test_in_an_external_command_it_writes_lines(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "reports.jsonl"
        monkeypatch.setenv(context.METRICS_VARIABLE, str(file))
        report(loss=math.nan)
        report(4, loss=0.5, checkpoint="c")
        assert file.read_text() == '{"step": 1, "loss": NaN}\n{"step": 4, "loss": 0.5, "checkpoint": "c"}\n'


class TestLoading:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[Path]:
        before, modules = list(sys.path), set(sys.modules)
        yield tmp_path
        sys.path[:] = before
        for name in set(sys.modules) - modules:
            del sys.modules[name]

    def test_finds_modules_in_the_search_path_first(self, folder: Path, suggest: Suggest) -> None:
        (folder / "pack").mkdir()
        (folder / "pack" / "job_a.py").write_text("class Job:\n    @staticmethod\n    def train(config): return 3\n")
        trainer = FunctionTrainer("pack.job_a:Job.train", metric_names=["x"], search_path=folder)
        assert trainer(suggest(), ignore) == {"x": 3.0}
        assert trainer.check() == []

    def test_a_namesake_of_another_folder_is_another_module(self, folder: Path) -> None:
        for name in ("one", "two"):
            (folder / name).mkdir()
            (folder / name / "job_b.py").write_text(f"def train(config): return {name!r}")
        for name in ("one", "two", "one"):
            assert load_function("job_b:train", folder / name)({}) == name

    def test_a_module_is_imported_once(self, folder: Path) -> None:
        (folder / "job_c.py").write_text("def train(config): return 1")
        assert load_function("job_c:train", folder) is load_function("job_c:train", folder)

    @pytest.mark.parametrize(
        ("spec", "hint"),
        [
            ("job.train", 'did you mean "job:train"?'),
            ("src/job.py:train", 'did you mean "src.job:train"?'),
            ("job.py:train", 'did you mean "job:train"?'),
            ("job.py", 'did you mean "job:train"?'),
            ("job:", ""),
            (":train", ""),
        ],
    )
    def test_other_forms(self, spec: str, hint: str) -> None:
        with pytest.raises(TrainerError, match=r'must have the form "package\.module:name"') as error:
            load_function(spec)
        assert hint in str(error.value)

    def test_a_missing_module(self, folder: Path) -> None:
        (folder / "training.py").touch()
        with pytest.raises(TrainerError, match=r"no module `trainin` in .* or on Python's path; .*`training`\?"):
            load_function("trainin:train", folder)

    def test_a_missing_name(self, folder: Path) -> None:
        (folder / "job_d.py").write_text(
            "from os.path import join\nLR = 1\ndef train(config): ...\ndef _own(): ...\ndef evaluate(): ...\n"
        )
        with pytest.raises(
            TrainerError, match=r"has no `trian`; it has `train`, `evaluate` \(did you mean `train`\?\)"
        ):
            load_function("job_d:trian", folder)
        with pytest.raises(TrainerError, match="is a int, not a function"):
            load_function("job_d:LR", folder)

    @pytest.mark.parametrize(
        ("text", "wrong"),
        [
            ("import no_such_library", r"No module named 'no_such_library' \(.*job_e.py:1\)"),
            ("x = 1\nraise RuntimeError('no GPU')", r"RuntimeError: no GPU \(.*job_e.py:2\)"),
            ("def f(:\n", r"invalid syntax \(.*job_e.py:1\)"),
            ("import sys\nsys.exit('usage')", r"SystemExit: usage \(.*job_e.py:2\)"),
        ],
    )
    def test_a_module_that_fails(self, folder: Path, text: str, wrong: str) -> None:
        (folder / "job_e.py").write_text(text)
        with pytest.raises(TrainerError, match=rf"importing `job_e` failed: {wrong}"):
            load_function("job_e:train", folder)

    def test_neither_callable_nor_text(self) -> None:
        with pytest.raises(TrainerError, match="must be callable"):
            FunctionTrainer(3)  # type: ignore[arg-type]


class TestPickling:
    def test_closures_travel_by_value(self, suggest: Suggest) -> None:
        factor = 3
        trainer = FunctionTrainer(lambda config: factor * config["lr"], {"lr": 2}, metric_names=["x"])
        again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(trainer))))
        assert again(suggest(), ignore) == {"x": 6.0}

    def test_names_are_imported_where_they_run(self) -> None:
        assert b"no_such_module" in pickle.dumps(FunctionTrainer("no_such_module:train"))

    def test_functions_of_a_script_reach_another_process(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "import pickle, sys\n"
            "from rltune.trainers.function import FunctionTrainer\n"
            "def train(config): return config['lr'] * SCALE\n"
            "SCALE = 10\n"
            "open(sys.argv[1], 'wb').write(pickle.dumps(FunctionTrainer(train, metric_names=['x'])))\n"
        )
        file, path = tmp_path / "trainer.pickle", {"PYTHONPATH": ":".join(sys.path)}
        subprocess.run([sys.executable, script, file], check=True, env=path)
        trainer = pickle.loads(file.read_bytes())
        assert trainer(Suggestion(0, {"lr": 0.5}, 0, tmp_path), ignore) == {"x": 5.0}

    def test_what_cannot_be_read_is_an_error_of_the_trial(self, suggest: Suggest, tmp_path: Path) -> None:
        sys.path.insert(0, str(tmp_path))
        (tmp_path / "job_f.py").write_text("def train(config): return 1")
        try:
            state = pickle.dumps(FunctionTrainer(load_function("job_f:train")))
        finally:
            sys.path.remove(str(tmp_path))
            del sys.modules["job_f"]
        (tmp_path / "job_f.py").unlink()
        trainer = pickle.loads(state)
        sys.path.remove(str(tmp_path))
        with pytest.raises(
            TrainerError, match="did not reach its process: ModuleNotFoundError: No module named 'job_f'"
        ):
            trainer(suggest(), ignore)
