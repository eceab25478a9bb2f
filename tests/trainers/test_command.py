from __future__ import annotations

import json
import math
import os
import pickle
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from rltune.errors import TrainerError
from rltune.trainers.command import CommandFailed, CommandTrainer
from rltune.trainers.readers.jsonl import JsonLines
from rltune.trainers.readers.stdout import Stdout
from rltune.types import Cause, Measurement, Outcome, Suggestion, TrialStopped
from rltune.worker import attempt

Suggest = Callable[..., Suggestion]
PY = sys.executable

REPORT = """
import json, os, sys, time, signal, pathlib
def report(**row):
    with open(os.environ["RLTUNE_METRICS"], "a") as file:
        file.write(json.dumps(row) + "\\n")
"""


def ignore(_measurement: Measurement) -> None:
    pass


@pytest.fixture
def run(suggest: Suggest) -> Callable[..., tuple[Outcome, list[Measurement]]]:
    """Run a Python script as a trial."""

    def run(script: str, *words: str, suggestion: Suggestion | None = None, **options: Any) -> Any:
        seen: list[Measurement] = []
        trainer = CommandTrainer([PY, "-c", REPORT + script.replace("{", "{{").replace("}", "}}"), *words], **options)
        return attempt(trainer, suggestion or suggest(), seen.append), seen

    return run


def log_of(suggestion: Suggestion) -> str:
    return (suggestion.directory / "stdout.log").read_text()


class TestRendering:
    def render(self, suggestion: Suggestion, *words: str, **options: Any) -> list[str]:
        return list(CommandTrainer(["x", *words], **options).render(suggestion)[1:])

    def test_facts_of_the_trial(self, suggest: Suggest) -> None:
        one = suggest({"lr": 1e-5}, fold=2, n_folds=5, horizon=30, resume_from=Path("/c/step_10"))
        words = self.render(one, "{number}-{seed}", "{fold}/{n_folds}", "{horizon}", "{trial_dir}/x", "--c={config}")
        assert words == ["7-11", "2/5", "30", f"{one.directory}/x", f"--c={one.directory}/config.yaml"]
        assert self.render(one, "{python}", "{resume_from}") == [PY, "/c/step_10"]

    def test_parameters_by_their_names(self, suggest: Suggest) -> None:
        one = suggest({"policy.optimizer.kwargs.lr": 1e-5, "fast": True, "note": "a b=c", "betas": [0.9], "none": None})
        words = ["--lr={policy.optimizer.kwargs.lr}", "{fast}", "{note}", "{betas}", "{none}", "{{literal}}"]
        assert self.render(one, *words) == ["--lr=1.0e-05", "true", "a b=c", "[0.9]", "null", "{literal}"]

    def test_overrides_become_words(self, suggest: Suggest) -> None:
        one = suggest({"a.lr": 1e-5, "name": "1e-5"})
        assert self.render(one, "{overrides}", "end") == ["a.lr=1.0e-05", "name='1e-5'", "end"]
        assert self.render(one, "++{overrides}") == ["++a.lr=1.0e-05", "++name='1e-5'"]
        assert self.render(suggest({}), "{overrides}") == []

    def test_what_a_trial_does_not_have_is_left_out_with_its_name(self, suggest: Suggest) -> None:
        words = ["--m={momentum}", "--m", "{momentum}", "a.m={momentum}", "-m{momentum}", "--fold", "{fold}", "end"]
        assert self.render(suggest({}), *words, parameters=["momentum"]) == ["end"]
        full = self.render(suggest({"momentum": 0.9}, fold=1), *words)
        assert full == ["--m=0.9", "--m", "0.9", "a.m=0.9", "-m0.9", "--fold", "1", "end"]

    def test_a_word_that_stands_alone_needs_its_value(self, suggest: Suggest) -> None:
        for words in (["{momentum}"], ["--x=1", "{momentum}"], ["run", "{horizon}"]):
            with pytest.raises(TrainerError, match=r"has no value in this trial"):
                self.render(suggest({}), *words)

    def test_it_writes_nothing(self, suggest: Suggest) -> None:
        one = suggest({"lr": 1.0})
        self.render(one, "{config}", "{overrides}")
        assert list(one.directory.iterdir()) == []

    def test_python_stays_as_it_is(self, suggest: Suggest) -> None:
        assert CommandTrainer(["python", "x.py", 5]).render(suggest()) == ("python", "x.py", "5")

    def test_one_text_is_no_command(self) -> None:
        with pytest.raises(TrainerError, match=r'list of words, not one text: \["python", "train.py"\]'):
            CommandTrainer("python train.py")
        with pytest.raises(TrainerError, match="at least one word"):
            CommandTrainer([])


class TestChecking:
    def check(self, *words: str, names: tuple[str, ...] = ("learning_rate",), **options: Any) -> list[str]:
        return [str(p) for p in CommandTrainer([PY, *words], **options).check(names)]

    def test_right_commands(self, tmp_path: Path) -> None:
        (tmp_path / "train.py").touch()
        for words in (["train.py", "{config}"], ["train.py", "{overrides}"], ["train.py", "--lr", "{learning_rate}"]):
            assert self.check(*words, cwd=tmp_path) == []

    def test_unknown_placeholders(self) -> None:
        (text,) = self.check("{overrides}", "--lr={learning_rat}")
        assert text.startswith(
            "trainer.command.2: {learning_rat} in '--lr={learning_rat}' is not known; known are {config}"
        )
        assert text.endswith("{learning_rate} (did you mean `learning_rate`?)")
        (text,) = self.check("{a.lr}", "{lr}", names=("a.lr",))
        assert "did you mean `a.lr`?" in text
        (text,) = self.check("{config}", env={"X": "{trial_di}"})
        assert text.startswith("trainer.env.X: {trial_di}")

    def test_braces_that_mean_themselves(self) -> None:
        (text,) = self.check("{overrides}", '{"a": 1}')
        assert "a literal brace is {{ or }}" in text
        (text,) = self.check("{overrides}", "x}")
        assert "has a brace without its partner" in text

    def test_parameters_that_never_arrive(self) -> None:
        (text,) = self.check("train", "--seed={seed}")
        assert text.startswith("search_space.learning_rate: never reaches the command")

    def test_a_parameter_that_arrives_in_a_derived_value(self) -> None:
        command = CommandTrainer(
            [sys.executable, "-c", "pass", "{batch}"],
            parameters=("prompts", "group", "lr", "batch"),
            computed={"batch": {"samples"}, "samples": {"prompts", "group"}},
        )
        (problem,) = command.check(["prompts", "group", "lr"])
        assert str(problem).startswith("search_space.lr: never reaches the command")

    def test_a_parameter_called_like_a_placeholder(self) -> None:
        assert "also the name of a parameter" in self.check("{seed}", names=("seed",))[0]
        assert self.check("{config}", names=("seed",)) == []

    def test_dotted_names_that_the_base_config_does_not_know(self) -> None:
        (text,) = self.check("{config}", names=("a.rl",), base_config={"a": {"lr": 1}})
        assert text == "search_space.a.rl: the base config has no such key (did you mean `a.lr`?)"

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        (problem,) = CommandTrainer(["no-such-program", "{config}"]).check()
        assert str(problem).startswith("trainer.command.0: there is no program `no-such-program` on PATH (/")
        (problem,) = CommandTrainer(["python0", "{config}"]).check()
        assert problem.message.endswith("; {python} is the Python that runs rltune")
        assert "there is no file" in self.check("train.py", "{config}", cwd=tmp_path)[0]
        assert "there is no folder" in self.check("{config}", cwd=tmp_path / "none")[0]
        (tmp_path / "run.sh").write_text("true")
        (problem,) = CommandTrainer(["./run.sh", "{config}"], cwd=tmp_path).check()
        assert "is not executable" in problem.message
        (tmp_path / "run.sh").chmod(0o755)
        assert CommandTrainer(["./run.sh", "{config}"], cwd=tmp_path).check() == []
        (problem,) = CommandTrainer(["./other.sh", "{config}"], cwd=tmp_path).check()
        assert "there is no program" in problem.message


class TestFiles:
    def test_the_config_is_the_base_with_the_parameters(self, run: Any, suggest: Suggest) -> None:
        one = suggest({"lr": 1e-5, "a.b": "on", "c.d": None})
        outcome, _ = run(
            "pathlib.Path('x').touch()", suggestion=one, base_config={"a": {"b": 1, "c": 2}}, cwd="{trial_dir}"
        )
        assert outcome.cause is None, outcome.message
        assert (one.directory / "config.yaml").read_text() == 'a:\n  b: "on"\n  c: 2\nlr: 1.0e-05\nc:\n  d: null\n'
        assert YAML(typ="safe").load(one.directory / "config.yaml") == {
            "a": {"b": "on", "c": 2},
            "lr": 1e-5,
            "c": {"d": None},
        }
        assert (one.directory / "overrides.txt").read_text() == "lr=1.0e-05\na.b='on'\nc.d=null\n"
        assert (one.directory / "x").exists(), "cwd is the trial's folder"

    def test_json(self, run: Any, suggest: Suggest) -> None:
        one = suggest({"lr": 1e-5})
        assert run("json.load(open(sys.argv[1]))", "{config}", suggestion=one, config_format="json")[0].cause is None
        assert json.loads((one.directory / "config.json").read_text()) == {"lr": 1e-5}

    def test_the_command_can_be_pasted(self, tmp_path: Path, suggest: Suggest) -> None:
        one = suggest({"lr": 1e-5, "text": 'it\'s "x" $HOME'}, fold=1)
        out = tmp_path / "out file"
        script = (
            REPORT + f"json.dump([sys.argv[1:], os.environ['RLTUNE_SEED'], os.getcwd()], open({str(out)!r}, 'w'))\n"
        )
        script += "report(loss=1)"
        trainer = CommandTrainer([PY, "-c", script.replace("{", "{{").replace("}", "}}"), "{text}"], cwd=tmp_path)
        assert attempt(trainer, one, ignore).cause is None
        first, reports = out.read_text(), (one.directory / "reports.jsonl").read_text()
        out.unlink()
        line = (one.directory / "command.txt").read_text()
        subprocess.run(["sh", "-c", line], check=True, cwd="/")
        assert out.read_text() == first == json.dumps([['it\'s "x" $HOME'], "11", str(tmp_path)])
        assert (one.directory / "reports.jsonl").read_text() == reports, "the trial's record is left alone"

    def test_the_command_names_the_trials_gpus(
        self, run: Any, suggest: Suggest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
        one = suggest()
        assert run("print(os.environ['CUDA_VISIBLE_DEVICES'])", suggestion=one)[0].cause is None
        line = (one.directory / "command.txt").read_text()
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        shown = subprocess.run(["sh", "-c", line], check=True, capture_output=True, text=True).stdout
        assert shown == log_of(one) == "2,3\n"
        assert json.loads((one.directory / "env.json").read_text())["set"]["CUDA_VISIBLE_DEVICES"] == "2,3"

    def test_the_environment(self, run: Any, suggest: Suggest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_TOKEN", "secret-1")
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
        one = suggest(fold=1, n_folds=3, horizon=10)
        script = "print(json.dumps(dict(os.environ)))"
        assert run(script, suggestion=one, env={"API_KEY": "secret-2", "WHERE": "{trial_dir}/x"})[0].cause is None
        seen = json.loads(log_of(one))
        assert seen.pop("MY_TOKEN") == "secret-1"
        assert seen.pop("API_KEY") == "secret-2"
        seen = {name: value for name, value in seen.items() if name.startswith("RLTUNE") or name == "PYTHONUNBUFFERED"}
        assert seen == {
            "RLTUNE_METRICS": f"{one.directory}/reports.jsonl",
            "RLTUNE_TRIAL": "7",
            "RLTUNE_TRIAL_DIR": str(one.directory),
            "RLTUNE_SEED": "11",
            "RLTUNE_FOLD": "1",
            "RLTUNE_N_FOLDS": "3",
            "RLTUNE_HORIZON": "10",
            "PYTHONUNBUFFERED": "1",
        }
        facts = json.loads((one.directory / "env.json").read_text())
        assert facts["set"] == seen
        assert facts["set_by_study_file"] == ["API_KEY", "WHERE"]
        assert not any("secret" in f.read_text() for f in one.directory.iterdir() if f.name != "stdout.log")

    def test_a_parameter_that_does_not_fit(self, run: Any, suggest: Suggest) -> None:
        outcome, _ = run("", suggestion=suggest({"a.b": 1}), base_config={"a": 3})
        assert outcome.message == "parameter `a.b` cannot be set: `a` in the base config is 3"


class TestMetrics:
    def test_they_arrive_while_it_runs(self, tmp_path: Path, suggest: Suggest) -> None:
        script = REPORT + (
            "report(step=1, loss=0.5)\n"
            "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
            "report(step=2, loss=float('nan'))\n"
        )
        seen: list[Measurement] = []

        def report(measurement: Measurement) -> None:
            seen.append(measurement)
            (tmp_path / "go").touch()

        argv = [PY, "-c", script.replace("{", "{{").replace("}", "}}"), str(tmp_path / "go")]
        assert attempt(CommandTrainer(argv), suggest(), report) == Outcome()
        assert [m.step for m in seen] == [1, 2]
        assert math.isnan(seen[1].metrics["loss"])
        assert 0 < seen[0].seconds <= seen[1].seconds

    def test_half_a_line_and_garbage(self, run: Any, suggest: Suggest) -> None:
        one = suggest()
        script = """
f = open(os.environ["RLTUNE_METRICS"], "a", buffering=1)
f.write('{"step": 1, "lo'); f.flush(); time.sleep(0.3)
f.write('ss": 1}\\ngarbage\\n{"loss": Infinity}\\n\\x00\\n{"step": 3, "loss": -Infinity}')
"""
        outcome, seen = run(script, suggestion=one)
        assert outcome == Outcome()
        assert [(m.step, m.metrics["loss"]) for m in seen] == [(1, 1.0), (2, math.inf), (3, -math.inf)]
        assert log_of(one) == "rltune: 2 unreadable in reports.jsonl, the first: garbage\n"

    def test_garbage_is_mentioned_in_a_failure(self, run: Any) -> None:
        outcome, _ = run("open(os.environ['RLTUNE_METRICS'], 'w').write('oops'); sys.exit(1)")
        assert outcome.message.endswith("1 unreadable in reports.jsonl, the first: oops")

    def test_stdout_as_a_source(self, run: Any) -> None:
        pattern = r"step (?P<step>\d+) loss (?P<loss>\S+)"
        outcome, seen = run("print('step 3 loss 0.5'); report(x=1)", metrics=[Stdout(pattern)])
        assert outcome == Outcome()
        assert sorted((m.step, dict(m.metrics)) for m in seen) == [(1, {"x": 1.0}), (3, {"loss": 0.5})]

    def test_the_default_file_is_not_read_twice(self, run: Any) -> None:
        assert [m.step for m in run("report(epoch=4, loss=1)", metrics=[JsonLines(step="epoch")])[1]] == [4]

    def test_a_second_run_in_one_folder_reads_its_own(self, run: Any) -> None:
        assert len(run("print(1); report(loss=1)", metrics=[Stdout()])[1]) == 1
        outcome, seen = run("report(loss=2); sys.exit(1)", metrics=[Stdout()])
        assert [m.metrics["loss"] for m in seen] == [2]
        assert "(it printed nothing)" in outcome.message


class TestEnds:
    def test_a_failure_shows_its_status_and_the_last_lines(self, run: Any) -> None:
        script = "for i in range(100): print('line', i)\nprint('\\x1b[31mred\\x1b[0m')\n1 / 0"
        cause, message = (outcome := run(script)[0]).cause, outcome.message.splitlines()
        assert cause is Cause.ERROR
        assert message[0] == "exit status 1"
        assert message[-1] == "ZeroDivisionError: division by zero"
        assert "red" in message
        assert "line 99" in message
        assert len(message) == 21

    @pytest.mark.parametrize(
        ("script", "cause", "first"),
        [
            ("sys.exit(3)", Cause.ERROR, "exit status 3"),
            ("os.kill(os.getpid(), signal.SIGSEGV)", Cause.ERROR, "ended by SIGSEGV"),
            ("os.abort()", Cause.ERROR, "ended by SIGABRT"),
            ("os.kill(os.getpid(), signal.SIGKILL)", Cause.LOST, "ended by SIGKILL, sent from outside; often"),
            ("os.kill(os.getpid(), signal.SIGTERM)", Cause.LOST, "ended by SIGTERM, sent from outside"),
            ("sys.exit(137)", Cause.LOST, "exit status 137, which stands for SIGKILL, sent from outside"),
            ("raise MemoryError", Cause.OUT_OF_MEMORY, "out of memory (exit status 1): MemoryError"),
            (
                "print('torch.OutOfMemoryError: CUDA out of memory. Tried'); os.kill(os.getpid(), signal.SIGKILL)",
                Cause.OUT_OF_MEMORY,
                "out of memory (ended by SIGKILL): torch.OutOfMemoryError: CUDA out of memory. Tried",
            ),
        ],
    )
    def test_causes(self, run: Any, script: str, cause: Cause, first: str) -> None:
        outcome, _ = run(script)
        assert outcome.cause is cause
        assert outcome.message.startswith(first)

    def test_a_policy_that_can_no_longer_be_sampled_from_has_diverged(self, run: Any) -> None:
        pytest.importorskip("torch")
        outcome, _ = run("import torch; torch.multinomial(torch.full((4,), torch.nan), num_samples=1)")
        assert outcome.cause is Cause.DIVERGED
        first = "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0"
        assert outcome.message.startswith(f"diverged (exit status 1): {first}\nTraceback")

    def test_sampling_that_failed_on_the_way_is_no_failure(self, run: Any) -> None:
        said = "print('probability tensor contains either `inf`, `nan` or element < 0, drawn again')"
        assert run(f"{said}; report(loss=1)")[0] == Outcome()

    def test_running_out_of_memory_on_the_way_is_no_failure(self, run: Any) -> None:
        assert run("print('CUDA out of memory, trying half the batch'); report(loss=1)")[0] == Outcome()

    def test_a_hundred_megabytes_of_output(self, run: Any, suggest: Suggest) -> None:
        one = suggest()
        script = "line = 'x' * 99 + '\\n'\nfor _ in range(1000): sys.stdout.write(line * 1000)\nsys.exit('the end')"
        begin = time.monotonic()
        outcome, _ = run(script, suggestion=one)
        assert (one.directory / "stdout.log").stat().st_size > 100e6
        assert outcome.message.splitlines()[0] == "exit status 1"
        assert outcome.message.endswith("the end")
        assert len(outcome.message) < 10_000
        assert time.monotonic() - begin < 60

    def test_progress_bars_show_their_last_state(self, run: Any) -> None:
        outcome, _ = run("print('\\r'.join(f'{i} %' for i in range(101)), end='\\r\\n'); sys.exit(1)")
        assert outcome.message == "exit status 1\n100 %"

    def test_a_command_that_closes_its_output(self, run: Any) -> None:
        script = "os.close(1); os.close(2); report(loss=1); time.sleep(0.2); report(loss=2)"
        outcome, seen = run(script)
        assert outcome == Outcome()
        assert [m.step for m in seen] == [1, 2]

    def test_it_reads_no_input(self, run: Any, suggest: Suggest) -> None:
        one = suggest()
        assert run("print(repr(sys.stdin.read()))", suggestion=one)[0] == Outcome()
        assert log_of(one) == "''\n"

    def test_output_is_appended(self, run: Any, suggest: Suggest) -> None:
        one = suggest()
        (one.directory / "stdout.log").write_text("before\n")
        run("print('out'); print('err', file=sys.stderr)", suggestion=one)
        assert log_of(one) == "before\nout\nerr\n"

    @pytest.mark.parametrize(
        ("argv", "wrong"),
        [
            (["no-such-program"], r"there is no program `no-such-program` on PATH \(/"),
            (["./no-such-file"], "there is no program .*no-such-file"),
            (["./plain.txt"], "is not executable"),
            (["./no-shebang"], "cannot be started: .*Exec format error"),
            ([PY, "a\0b"], "cannot be started: embedded null byte"),
        ],
    )
    def test_commands_that_cannot_start(self, argv: list[str], wrong: str, tmp_path: Path, suggest: Suggest) -> None:
        (tmp_path / "plain.txt").touch()
        (tmp_path / "no-shebang").write_bytes(b"\x01\x02")
        (tmp_path / "no-shebang").chmod(0o755)
        with pytest.raises(TrainerError, match=wrong):
            CommandTrainer(argv, cwd=tmp_path)(suggest(), ignore)

    def test_a_folder_that_is_not_there(self, tmp_path: Path, suggest: Suggest) -> None:
        with pytest.raises(TrainerError, match="there is no such folder"):
            CommandTrainer([PY], cwd=tmp_path / "none")(suggest(), ignore)

    def test_failures_survive_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(CommandFailed(Cause.LOST, "gone", -9)))
        assert (error.cause, str(error), error.status) == (Cause.LOST, "gone", -9)


def stop(_measurement: Measurement) -> None:
    raise TrialStopped


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class TestStopping:
    def test_term_lets_it_clean_up(self, run: Any, suggest: Suggest) -> None:
        one = suggest()
        script = REPORT + (
            "def bye(*_): print('saved'); sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, bye)\n"
            "report(loss=1)\n"
            "while True: time.sleep(60)\n"
        )
        argv = [PY, "-c", script.replace("{", "{{").replace("}", "}}")]
        assert attempt(CommandTrainer(argv), one, stop) == Outcome(stopped=True)
        assert log_of(one) == "saved\n"

    def test_kill_follows_where_term_is_ignored(self, suggest: Suggest) -> None:
        script = REPORT + (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "pid = os.fork()\n"
            "report(pid=os.getpid(), child=pid) if pid else None\n"
            "while True: time.sleep(60)\n"
        )
        pids: list[int] = []

        def stop_it(measurement: Measurement) -> None:
            pids.extend(map(int, measurement.metrics.values()))
            raise TrialStopped

        argv = [PY, "-c", script.replace("{", "{{").replace("}", "}}")]
        begin = time.monotonic()
        assert attempt(CommandTrainer(argv, grace_seconds=0.3), suggest(), stop_it) == Outcome(stopped=True)
        assert 0.3 < time.monotonic() - begin < 30
        assert [lives(pid) for pid in pids] == [False, False]

    def test_any_exception_ends_it(self, suggest: Suggest) -> None:
        pids: list[int] = []

        def fail(measurement: Measurement) -> None:
            pids.append(int(measurement.metrics["pid"]))
            raise BrokenPipeError("the tuner is gone")

        script = REPORT + "report(pid=os.getpid()); time.sleep(600)"
        outcome = attempt(CommandTrainer([PY, "-c", script.replace("{", "{{").replace("}", "}}")]), suggest(), fail)
        assert outcome.cause is Cause.ERROR
        assert not lives(pids[0])

    def test_a_stop_after_its_end_is_still_a_stop(self, run: Any, suggest: Suggest) -> None:
        script = REPORT + "report(loss=1); sys.exit(5)"
        argv = [PY, "-c", script.replace("{", "{{").replace("}", "}}")]
        assert attempt(CommandTrainer(argv), suggest(), stop) == Outcome(stopped=True)

    def test_a_signal_to_the_group_interrupts_it(self, tmp_path: Path) -> None:
        """As an executor does it: the trial leads a process group, which gets TERM as a whole."""
        driver = """
import signal, sys
from pathlib import Path
from rltune.trainers.command import CommandTrainer
from rltune.types import Suggestion
from rltune.worker import Interrupted, attempt
def interrupt(*_): raise Interrupted
signal.signal(signal.SIGTERM, interrupt)
job = '''
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
with open(os.environ["RLTUNE_METRICS"], "w") as file:
    print('{{"pid": %d, "child": %d}}' % (os.getpid(), child.pid), file=file)
time.sleep(600)
'''
def show(m): print(int(m.metrics["pid"]), int(m.metrics["child"]), flush=True)
trainer = CommandTrainer([sys.executable, "-c", job], grace_seconds=0.2)
outcome = attempt(trainer, Suggestion(0, {}, 0, Path(sys.argv[1])), show)
print(outcome.cause.value)
"""
        argv = [PY, "-c", driver, str(tmp_path)]
        env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True, env=env) as process:
            assert process.stdout is not None
            pids = [int(word) for word in process.stdout.readline().split()]
            assert os.getpgid(pids[0]) == process.pid, "the command is in the trial's own group"
            os.killpg(process.pid, signal.SIGTERM)
            assert process.stdout.read() == "interrupted\n"
        assert [lives(pid) for pid in pids] == [False, False]


def test_a_command_reports_through_the_library(suggest: Suggest) -> None:
    seen: list[Measurement] = []
    code = "from rltune.trainers.context import report; report(loss=0.5); report(9, loss=float('nan'), checkpoint='c')"
    trainer = CommandTrainer([PY, "-c", code], env={"PYTHONPATH": ":".join(sys.path)})
    assert attempt(trainer, suggest(), seen.append) == Outcome()
    assert [(m.step, m.checkpoint) for m in seen] == [(1, None), (9, "c")]


def test_shell_words_are_no_shell(run: Any, suggest: Suggest) -> None:
    one = suggest({"x": "$(echo hi); *"})
    run("print(shlex.join(sys.argv[1:])) if False else print(sys.argv[1:])", "{x}", "~", "$HOME", suggestion=one)
    assert log_of(one) == repr(["$(echo hi); *", "~", "$HOME"]) + "\n"
    assert shlex.split((one.directory / "command.txt").read_text())[-3:] == ["$(echo hi); *", "~", "$HOME"]
