"""The toy of Jaderberg et al. 2017, section 4.1: what a training has come to depends on every configuration it had.

It maximises Q = 1.2 - sum(theta^2) by following 1.2 - sum(h theta^2), and keeps what it was given at each step.
"""

import json
import os
import time
from pathlib import Path

SPACE = {"h0": {"type": "float", "min": 0.01, "max": 1.0}, "h1": {"type": "float", "min": 0.01, "max": 1.0}}
HORIZON = 60
SAVE_EVERY = 5


def train(config, trial):
    state = {"theta": [0.9, 0.9], "given": []}
    if trial.resume_from is not None:
        state = json.loads((Path(trial.resume_from) / "state.json").read_text())
    for step in range(len(state["given"]) + 1, trial.horizon + 1):
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        h = [config["h0"], config["h1"]]
        state["theta"] = [theta * (1 - 0.04 * each) for theta, each in zip(state["theta"], h, strict=True)]
        state["given"].append(h)
        trial.report(step, q=1.2 - sum(theta**2 for theta in state["theta"]), checkpoint=save(trial, step, state))
    (trial.directory / "given.json").write_text(json.dumps(state["given"]))


def save(trial, step, state):
    if step % SAVE_EVERY:
        return None
    place = trial.directory / f"step-{step}"
    place.mkdir(exist_ok=True)
    (place / "state.json").write_text(json.dumps(state))
    return place


def never_saves(config, trial):
    for step in range(1, trial.horizon + 1):
        trial.report(step, q=config["h0"] * step)


def overwrites(config, trial):
    place = trial.directory / "last"
    for step in range(1, trial.horizon + 1):
        place.write_text(str(step))
        trial.report(step, q=config["h0"] * step, checkpoint=place)


def never_resumes(config, trial):
    for step in range(1, trial.horizon + 1):
        place = trial.directory / f"step-{step}"
        place.write_text(str(step))
        trial.report(step, q=config["h0"] * step, checkpoint=place)


def diverges(config, trial):
    """Where a trial has a large h0, by its fifteenth step."""
    start = 0 if trial.resume_from is None else int(Path(trial.resume_from).read_text())
    for step in range(start + 1, trial.horizon + 1):
        place = trial.directory / f"step-{step}"
        place.write_text(str(step))
        nan = config["h0"] > 0.8 and step >= 15
        trial.report(step, q=float("nan") if nan else config["h1"] * step, checkpoint=place)
