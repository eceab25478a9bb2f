"""What comes before a run: help, `init`, `check`, and every wrong thing that can be given."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_help_names_every_verb(rltune):
    for flag in ("--help", "-h"):
        shown = rltune(flag)
        assert shown.code == 0
        for verb in ["init", "check", "run", "demo", "status", "list", "show", "best", "stop", "retry", "export"]:
            assert f" {verb} " in shown.out


def test_version(rltune):
    assert rltune("--version").out.startswith("rltune 0.")


def test_help_loads_nothing_heavy():
    heavy = "optuna", "pydantic", "ruamel", "numpy", "torch", "psutil"
    code = (
        "import sys\nfrom rltune.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_to_read_a_study_loads_nothing_of_nemo_rl():
    code = (
        "import sys\nimport rltune.session, rltune.cli.views.status, rltune.cli.views.as_json\n"
        "print([m for m in sys.modules if 'nemo_rl' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_verb_and_a_wrong_verb_are_usage_errors(rltune):
    assert rltune("runn").code == 2
    assert rltune("run").code == 2
    assert rltune("list", "--state", "done").code == 2


# --- init ------------------------------------------------------------------------------------------------------------


def test_init_writes_a_file_that_passes_check_once_the_trainer_is_there(rltune, job):
    (job / "study.yaml").unlink()
    assert rltune("init", "--trainer", "job:train").code == 0
    assert rltune("check", "study.yaml").code == 0
    text = (job / "study.yaml").read_text()
    assert 'function: "job:train"' in text
    assert f"name: {job.name}" in text


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("python job.py", '[python, job.py, "{overrides}"]'),
        ("python job.py --lr {lr} --momentum={momentum}", '[python, job.py, --lr, "{lr}", "--momentum={momentum}"]'),
        ("python job.py --config {config}", '[python, job.py, --config, "{config}"]'),
        ("python job.py --seed {seed}", '[python, job.py, --seed, "{seed}", "{overrides}"]'),
    ],
)
def test_init_for_a_command(rltune, job, command, written):
    assert rltune("init", "-o", "new.yaml", "--command", command).code == 0
    assert f"command: {written}\n" in (job / "new.yaml").read_text()
    checked = rltune("check", "new.yaml", "--json")
    assert checked.code == 0
    if "{lr}" in command:
        assert list(checked.json["parameters"]) == ["lr", "momentum"]


def test_init_keeps_what_is_there(rltune, job):
    before = (job / "study.yaml").read_text()
    refused = rltune("init")
    assert refused.code == 2
    assert refused.err == "rltune: study.yaml exists; `--force` writes over it, `-o` names another file\n"
    assert (job / "study.yaml").read_text() == before
    assert rltune("init", "--force").code == 0
    assert (job / "study.yaml").read_text() != before


def test_init_refuses_what_no_study_could_run(rltune, job):
    assert rltune("init", "-o", "new.yaml", "--trainer", "job.py:train").code == 2
    assert rltune("init", "-o", "new.yaml", "--trainer", "a:b", "--command", "c").code == 2
    assert rltune("init", "-o", "new.yaml", "--command", "'").code == 2
    assert not (job / "new.yaml").exists()
    assert rltune("init", "-o", "nowhere/new.yaml").code == 2


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_shows_what_would_run_and_runs_nothing(rltune, job):
    before = sorted(job.iterdir())
    shown = rltune("check", "study.yaml", "--set", "n_trials=7")
    assert shown.code == 0, shown.err
    for words in (
        "0.01 to 0.8",
        "log",
        "8, 16, 32",
        "maximize score",
        "7 trials",
        "job:train(config, trial)",
        "inline",
    ):
        assert words in shown.out
    assert "note     nothing to compare the winner with" in shown.out
    assert shown.out.endswith("start it with `rltune run study.yaml --set n_trials=7`\n")
    assert [p for p in sorted(job.iterdir()) if p.name != "__pycache__"] == before


def test_check_prints_the_very_commands(rltune, job):
    command = '[python, job.py, --lr, "{lr}", "--batch={batch}", "{trial_dir}"]'
    shown = rltune("check", "study.yaml", "--set", f"trainer.command={command}")
    assert shown.code == 0, shown.err
    lines = [line for line in shown.out.splitlines() if line.startswith("python job.py --lr 0.")]
    assert len(lines) == 5
    assert lines[4].endswith(f"{job}/runs/small/trials/0004")


def test_check_as_json(rltune, job):
    shown = rltune("check", "study.yaml", "--json").json
    assert shown["plan"]["phases"] == {"baseline": 0, "search": 5, "final": 0, "claim": 0}
    lr = {"range": "0.01 to 0.8", "scale": "log", "default": None, "prior": None, "when": None}
    assert shown["parameters"]["lr"] == lr
    assert len(shown["draws"]) == 5
    assert all(0.01 <= draw["params"]["lr"] <= 0.8 for draw in shown["draws"])
    assert shown["draws"] == rltune("check", "study.yaml", "--json").json["draws"]


def test_what_auto_has_chosen_is_said_with_its_reason(rltune, job):
    shown = " ".join(rltune("check", "study.yaml", "--set", "algorithm=auto").out.split())
    assert "auto: a Gaussian process that learns the noise, after 4 evenly spread trials" in shown
    assert "forecast: after 4 whole trials" in shown
    chosen = rltune("check", "study.yaml", "--set", "algorithm=auto", "--set", "pruner=none", "--json").json
    assert chosen["algorithm"]["name"] == "auto"
    assert chosen["algorithm"]["why"].startswith("a Gaussian process")
    assert chosen["pruner"] == {"name": "none", "why": None}
    assert rltune("check", "study.yaml", "--set", "algorithm=tpe", "--json").json["algorithm"]["why"] is None


def test_check_plans_the_whole_protocol_where_there_are_defaults(rltune, job):
    shown = rltune("check", "study.yaml", "--set", "n_trials=28", *defaults())
    assert shown.code == 0
    assert re.search(r"[1-9] baseline \+ \d+ search \+ \d+ final \+ \d+ claim = 28 trials", shown.out)
    assert "nothing to compare" not in shown.out


def defaults() -> list[str]:
    return ["--set", "search_space.lr.default=0.05", "--set", "search_space.batch.default=8"]


def test_check_warns_of_a_learning_rate_on_a_linear_scale(rltune, job):
    shown = rltune("check", "study.yaml", "--set", "search_space.lr.log=false")
    assert shown.code == 0
    assert "`lr` looks like a learning rate, but is searched on a linear scale; give it `log: true`" in shown.out
    assert not rltune("check", "study.yaml", "--json").json["warnings"]


def test_check_explains_early_stopping(rltune, job):
    shown = rltune("check", "study.yaml", "--set", "evaluation.early_stopping=true")
    assert "early_stopping looks at each trial's own curve" in shown.out
    assert "study_patience" in shown.out


def test_check_keeps_stdout_for_json_when_a_module_prints(rltune, job):
    (job / "loud.py").write_text("print('hello')\ndef train(config): return 1.0\n")
    shown = rltune("check", "study.yaml", "--trainer", "loud:train", "--json")
    assert shown.json["name"] == "small"
    assert "hello" in shown.err


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_every_error_of_the_file_is_listed_with_its_line(rltune, job):
    text = (job / "study.yaml").read_text()
    text = text.replace("n_trials", "n_trails").replace("max: 0.8", "max: 0.001").replace("maximize", "maximise")
    (job / "wrong.yaml").write_text(text)
    wrong = rltune("check", "wrong.yaml")
    assert wrong.code == 2
    assert wrong.out == ""
    lines = wrong.err.splitlines()
    assert lines[0] == "wrong.yaml:2: n_trails: unknown key (did you mean `n_trials`?)"
    assert [line.split(" ")[0] for line in lines] == ["wrong.yaml:2:", "wrong.yaml:5:", "wrong.yaml:7:"]


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.yaml"], ["nothing.yaml: does not exist", "study.yaml"]),
        (["study.yaml", "--set", "algorithm=tpee"], ["there is no sampler `tpee`", "did you mean `tpe`?"]),
        (["study.yaml", "--trainer", "jib:train"], ["trainer.function", "there is no module `jib`", "`job`"]),
        (["study.yaml", "--trainer", "job:trane"], ["`job` has no `trane`", "did you mean `train`?"]),
        (["study.yaml", "--set", "n_trials"], ["--set n_trials is not of the form key=value"]),
        (["study.yaml", "--set", "protocol=full"], ["protocol", "`lr`, `batch` have no `default`"]),
    ],
)
def test_a_wrong_input_is_named_before_anything_runs(rltune, job, verb, arguments, words):
    wrong = rltune(verb, *arguments)
    assert wrong.code == 2
    assert wrong.out == ""
    assert all(word in wrong.err for word in words), wrong.err
    assert "Traceback" not in wrong.err
    assert not (job / "runs").exists()


def test_the_wrong_line_is_named_for_what_is_found_late(rltune, job):
    (job / "study.yaml").write_text((job / "study.yaml").read_text().replace("algorithm: random", "algorithm: rando"))
    assert rltune("check", "study.yaml").err.startswith("study.yaml:9: algorithm: there is no sampler `rando` (did you")


# --- a bug of ours ---------------------------------------------------------------------------------------------------


def test_a_bug_says_so_and_ends_with_1(job):
    code = (
        "import rltune.session\n"
        "def boom(*_): raise KeyError('inside')\n"
        "rltune.session.prepare = boom\n"
        "from rltune.cli.main import main\nmain(['check', 'study.yaml'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "KeyError: 'inside'" in done.stderr
    assert "This is a bug in rltune" in done.stderr


def test_a_study_file_in_another_folder_finds_its_trainer(rltune, job, monkeypatch):
    elsewhere = job / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert rltune("check", str(Path("..") / "study.yaml")).code == 0
