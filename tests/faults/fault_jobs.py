"""A trainer that goes wrong in the way that `job.json` beside it asks for, as a function and as a command.

A copy of this file lies beside each study. It keeps a ledger outside of the study folder: a line when a trial begins,
and one as its very last act.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

JOB = json.loads(Path(__file__).with_name("job.json").read_text())


def train(config, trial):
    """The function trainer."""
    loss = run(trial.number, trial.seed, config["x"], lambda step, **metrics: trial.report(step, metrics))
    return {} if loss is None else {"loss": loss}


def main():
    """The command trainer: `fault_jobs.py X`."""

    def report(step, **metrics):
        with Path(os.environ["RLTUNE_METRICS"]).open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    loss = run(int(os.environ["RLTUNE_TRIAL"]), int(os.environ["RLTUNE_SEED"]), float(sys.argv[1]), report)
    if loss is not None:
        report(1000, loss=loss)


def run(number, seed, x, report):
    """Returns the loss, which follows from `x` and `seed` alone."""
    note("started", number, seed)
    fault = JOB["faults"].get(str(number)) or JOB["faults"].get("all")
    if JOB.get("mended") and Path(JOB["mended"]).exists():
        fault = None
    if fault is not None:
        globals()[fault](report)
        if fault.startswith("bad_metric"):
            return None
    loss = (x - 0.3) ** 2 + (seed % 7) / 1000
    for step in range(1, JOB["steps"] + 1):
        time.sleep(JOB["seconds"])
        report(step, loss=loss + 1 / step)
    note("finished", number, seed)
    return loss


def note(what, number, seed):
    """One write to a file opened for appending: lines of several processes do not mix."""
    file = os.open(JOB["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what} {number} {seed} {os.getpid()}\n".encode())
    os.close(file)


# --- what may go wrong -----------------------------------------------------------------------------------------------


def raises(report):
    print("loading the model")
    raise RuntimeError("the trainer broke")


def crashes(report):
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def says_a_word_and_crashes(report):
    print("NCCL says no", flush=True)
    crashes(report)


def is_killed(report):
    os.kill(os.getpid(), signal.SIGKILL)


def is_killed_by_a_signal_without_a_name(report):
    os.kill(os.getpid(), signal.SIGRTMIN + 3)


def eats_memory(report):
    data = bytearray(400_000_000)
    data[::4096] = b"x" * len(data[::4096])
    time.sleep(60)


def hangs(report):
    report(1, loss=1.0)
    time.sleep(60)


def ignores_term(report):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hangs(report)


def leaves_children(report):
    """One in the group, one that left it, and one that left it and whose parent is dead already."""
    sleeper = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)"]
    subprocess.Popen(sleeper)
    subprocess.Popen(sleeper, start_new_session=True)
    double = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
    subprocess.run([sys.executable, "-S", "-E", "-c", double, *sleeper], check=True)


def leaves_children_and_hangs(report):
    leaves_children(report)
    hangs(report)


def leaves_children_and_ignores_term(report):
    leaves_children(report)
    ignores_term(report)


def prints_much(report):
    block = b"x" * 79 + b"\n"
    for _ in range(100):
        os.write(1, block * 12500)  # a megabyte


def closes_stdout(report):
    os.close(1)
    os.close(2)


def closes_everything(report):
    """As a daemon does; nothing can be reported any more."""
    JOB["steps"] = 0
    os.closerange(0, 256)
    time.sleep(1)


def exits_silently(report):
    os._exit(3)


def exits_well_too_soon(report):
    os._exit(0)


def is_killed_once_it_has_written_its_outcome(report):
    from rltune import folder

    write = folder.TrialDir.write_outcome

    def write_and_die(self, outcome):
        write(self, outcome)
        is_killed(report)

    folder.TrialDir.write_outcome = write_and_die


def fills_the_disk(report):
    """Prints until there is no room, as a trainer does that logs too much."""
    for _ in range(1000):
        sys.stdout.write("x" * 100_000 + "\n")
        sys.stdout.flush()


def fills_the_disk_and_goes_on(report):
    try:
        fills_the_disk(report)
    except OSError:
        pass
    report(1, loss=1.0)


def bad_metric_nan(report):
    report(1, loss=1.0)
    report(2, loss=math.nan)


def bad_metric_inf(report):
    report(1, loss=-math.inf)


def bad_metric_text(report):
    report(1, loss="high")


def bad_metric_missing(report):
    report(1, reward=1.0, length=7.0)


def bad_metric_none(report):
    pass


if __name__ == "__main__":
    main()
