"""Which state of the code a study was run from, and that nothing depends on Git."""

from __future__ import annotations

import subprocess

import pytest

from rltune import config, session
from rltune.records import Commit
from rltune.reporting.html.page import page
from rltune.reporting.provenance import head_of

STUDY = """\
name: small
n_trials: 2
trainer: {function: "job:train"}
search_space:
  lr: {type: float, min: 0.01, max: 0.8}
evaluation: {metric: score, direction: maximize}
executor: inline
algorithm: random
"""


def git(folder, *words):
    own = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *own, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """With the study file, its trainer and one commit."""
    (tmp_path / "job.py").write_text("def train(config):\n    return {'score': config['lr']}\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(n=2):
    return session.run(config.load("study.yaml", [f"n_trials={n}"]))


def test_the_page_names_the_commit_and_each_change_of_it(repository):
    first = git(repository, "rev-parse", "HEAD")
    report = run().report()
    assert report.provenance.commits == (Commit(first, modified=False, from_trial=0),)
    (repository / "job.py").write_text("def train(config):\n    return {'score': -config['lr']}\n")
    run(3)
    run(3)
    git(repository, "commit", "-q", "-a", "-m", "second")
    second = git(repository, "rev-parse", "HEAD")
    report = run(4).report()
    assert report.provenance.commits == (
        Commit(first, modified=False, from_trial=0),
        Commit(first, modified=True, from_trial=2),
        Commit(second, modified=False, from_trial=3),
    )
    shown = " ".join(page(report).split())
    assert f'<th scope="row">git commit</th> <td class="text"><code>{first}</code></td>' in shown
    assert f'git commit from trial 2 on</th> <td class="text"><code>{first}</code> modified</td>' in shown
    assert session.read(repository / "runs" / "small").report() == report
    assert report.to_json()["provenance"]["commits"][0] == {"commit": first, "modified": False, "from_trial": 0}


def test_what_git_does_not_track_is_no_change(repository):
    (repository / "notes.txt").write_text("mine")
    assert head_of(repository).modified is False
    git(repository, "add", "notes.txt")
    assert head_of(repository).modified is True


def test_a_study_needs_no_git(tmp_path, repository, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert head_of(outside) is None
    assert head_of(tmp_path / "nowhere") is None
    monkeypatch.setenv("PATH", str(outside))
    assert head_of(repository) is None
    assert run().report().provenance.commits == ()


def test_a_repository_without_a_commit_and_a_broken_one(tmp_path):
    git(tmp_path, "init", "-q")
    assert head_of(tmp_path) is None
    (tmp_path / ".git" / "HEAD").write_text("nonsense")
    assert head_of(tmp_path) is None


def test_a_git_that_hangs_is_not_waited_for(repository, tmp_path, monkeypatch):
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/bin:/usr/bin")
    monkeypatch.setattr("rltune.reporting.provenance._GIT_SECONDS", 0.2)
    assert head_of(repository) is None


def test_another_repository_of_the_environment_is_not_meant(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    assert head_of(repository) is not None
