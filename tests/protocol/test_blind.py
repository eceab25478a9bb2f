"""What a claim measures reaches no sampler and no pruner, also where a study is extended after its end."""

import json
import shutil

import pytest

import rltune
from rltune.types import Purpose

SPACE = {
    "lr": ("float", 1e-4, 1.0, {"log": True, "default": 0.5}),
    "kind": ("categorical", ["a", "b"], {"default": "b"}),
}


def train(config, trial):
    """Best near 0.01; what a seed does is small."""
    for step in range(1, 5):
        worth = 1.0 - abs(config["lr"] - 0.01) - 0.1 * (config["kind"] == "b") + 0.001 * (trial.seed % 7) - 1 / step
        trial.report(step, reward=worth)
    return {"reward": worth}


def study(folder, n_trials, algorithm):
    return rltune.tune(
        train,
        SPACE,
        metric="reward",
        direction="maximize",
        n_trials=n_trials,
        algorithm=algorithm,
        pruner="median",
        protocol={"name": "full", "baseline_seeds": 2, "finalists": 2, "final_runs": 4, "claim_seeds": 2},
        executor="inline",
        out=folder,
    )


def taint(journal, numbers):
    """Makes the claim's results as bad as can be, wherever a sampler or a pruner might look."""
    lines, ids, created = [], set(), 0
    for text in journal.read_text().splitlines():
        log = json.loads(text)
        if log["op_code"] == 4:  # a trial is made
            ids |= {created} if created in numbers else set()
            created += 1
        if log.get("trial_id") in ids:
            log |= {key: [-1e6] for key in ("values",) if log.get(key)}
            log |= {key: -1e6 for key in ("intermediate_value",) if key in log}
        lines.append(json.dumps(log))
    journal.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "algorithm", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("tpe", "auto")), "random"]
)
def test_a_tainted_claim_changes_no_suggestion(tmp_path, algorithm):
    first = study(tmp_path / "clean", 24, algorithm)
    claims = {r.number for r in first.records if r.purpose is Purpose.CLAIM}
    assert len(claims) >= 4
    shutil.copytree(tmp_path / "clean", tmp_path / "tainted")
    taint(tmp_path / "tainted" / "journal.log", claims)
    tainted = rltune.load(tmp_path / "tainted")
    assert {r.value for r in tainted.records if r.number in claims} == {-1e6}
    clean, dirty = study(tmp_path / "clean", 34, algorithm), study(tmp_path / "tainted", 34, algorithm)
    later = [
        [(r.params, r.seed, r.state, r.values) for r in result.records if r.purpose is Purpose.SEARCH]
        for result in (clean, dirty)
    ]
    assert len(later[0]) > sum(r.purpose is Purpose.SEARCH for r in first.records)
    assert later[0] == later[1]
