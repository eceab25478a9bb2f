"""What goes wrong on purpose: the variable STAND_IN holds switches with commas between them, as `oom:3,orphan`.

Before the first step:
    ignore_key:KEY          the recipe's value of KEY stays, whatever the override says
    slow_setup:SECONDS      setup takes that long
    vllm_start              generation does not start
    placement_timeout       the GPUs are busy with another run
    too_few_gpus            the cluster has fewer GPUs than the recipe asks for
    busy_port               the master port is taken
    join_foreign_checkpoint[:STEP]  goes on from a checkpoint of another run, at STEP (5)
    orphan                  leaves a process behind, in a session of its own, its id in `exp_NNN/orphan.pid`
    deaf                    ignores TERM

At a step:
    oom:STEP                out of GPU memory
    oom_killed:STEP         killed by the system
    nccl:STEP               a collective operation times out
    lost_cluster:STEP       the Ray cluster that it had joined is gone
    hang:STEP               no progress any more
    slow_step:SECONDS       each step takes that long
    nan:STEP                loss, gradient and reward are no numbers from here on; it goes on, and ends well
    collapse:STEP           the policy collapses from here on, whatever the learning rate
    mismatch[:STEP]         training and generation disagree more and more from here on (1)
    exit_early:STEP         ends after this step as if it had finished
    die_in_validation       the first validation after a step raises
    silent                  writes no event files
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from nemo_rl.foreign import foreign

KNOWN = set(re.findall(r"^    (\w+)", __doc__, re.MULTILINE))

ORPHAN_SECONDS = 300


def _switches() -> dict[str, str]:
    words = filter(None, os.environ.get("STAND_IN", "").split(","))
    switches = {name: value for name, _, value in (word.strip().partition(":") for word in words)}
    unknown = sorted(set(switches) - set(KNOWN))
    if unknown:
        raise SystemExit(f"STAND_IN has {unknown}, and knows {sorted(KNOWN)}")
    return switches


SWITCHES = _switches()


def begun(switch: str, step: int) -> bool:
    """Whether `switch` is on at `step`, which it is from its own step on."""
    return switch in SWITCHES and step >= int(SWITCHES[switch] or 1)


def before_setup(log_dir: str) -> None:
    if "deaf" in SWITCHES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "orphan" in SWITCHES:
        orphan = subprocess.Popen(
            ["sleep", str(ORPHAN_SECONDS)], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        Path(log_dir, "orphan.pid").write_text(str(orphan.pid))
    time.sleep(float(SWITCHES.get("slow_setup", 0)))
    if "placement_timeout" in SWITCHES:
        raise TimeoutError(
            "Timed out waiting for placement groups to be ready. The cluster may not have enough resources "
            "to satisfy the requested configuration, or the resources may be busy with other tasks."
        )
    if "too_few_gpus" in SWITCHES:
        print("Not enough GPUs available. Requested 8 GPUs, but only 1 are available in the cluster.")
        raise foreign("nemo_rl.distributed.virtual_cluster.ResourceInsufficientError")(
            "Maximum number of retries reached (6). Cluster resources may be insufficient or cluster itself is highly "
            "unstable. Please check your cluster configuration and your cluster logs."
        )
    if "busy_port" in SWITCHES:
        raise foreign("torch.distributed.DistNetworkError")(
            "The server socket has failed to listen on any local network address. port: 1400, useIpv6: false, "
            "code: -98, name: EADDRINUSE, message: address already in use"
        )
    if "vllm_start" in SWITCHES:
        raise foreign("ray.exceptions.RayTaskError(RuntimeError)")(
            "ray::VllmGenerationWorker.__init__()\n"
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
        )


def at_step(step: int, gpu: str = "total capacity of 79.11 GiB of which 1.30 GiB is free") -> None:
    """Whatever happens while a step is trained."""
    at = {name: step == int(value) for name, value in SWITCHES.items() if value.isdigit()}
    if at.get("oom"):
        raise out_of_memory(gpu)
    if at.get("nccl"):
        raise foreign("torch.distributed.DistBackendError")(
            "NCCL error: unhandled system error. Watchdog caught collective operation timeout: "
            "WorkNCCL(SeqNum=1207, OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600015 milliseconds before timing out."
        )
    if at.get("lost_cluster"):
        print("Failed to connect to GCS within 60 seconds. GCS may have been killed.", file=sys.stderr, flush=True)
        raise SystemExit(1)
    if at.get("oom_killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    while at.get("hang"):
        time.sleep(60)
    time.sleep(float(SWITCHES.get("slow_step", os.environ.get("STAND_IN_STEP_SECONDS", "0.02"))))


def after_step(step: int) -> None:
    if SWITCHES.get("exit_early") == str(step):
        raise SystemExit(0)


def in_validation(step: int) -> None:
    if step and "die_in_validation" in SWITCHES:
        raise UnboundLocalError("cannot access local variable 'additional_metrics_to_report'")


def out_of_memory(gpu: str) -> Exception:
    return foreign("ray.exceptions.RayTaskError(OutOfMemoryError)")(
        "ray::DTensorPolicyWorkerV2.train()\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. "
        f"GPU 0 has a {gpu}."
    )
