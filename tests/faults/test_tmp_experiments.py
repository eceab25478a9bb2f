import os
import signal
import time

import pytest
from fault_harness import assert_sound, wait_for


@pytest.mark.parametrize("kind", ["function", "command"])
@pytest.mark.parametrize("sig", [9, 2])
def test_kill_with_grandchildren(case, kind, sig):
    case.write(kind=kind, workers=2, faults={0: "leaves_children_and_hangs"}, executor={"grace_seconds": 10})
    s = case.start()
    wait_for(lambda: case.folder.trial(0).metrics.exists())
    print(len(case.processes()))
    s.send(sig)
    if sig == 2:
        time.sleep(0.3)
        s.send(sig)
    print(s.end())
    case.assert_nothing_lives()


@pytest.mark.parametrize("kind", ["function", "command"])
def test_zygote(case, kind):
    case.write(kind=kind, workers=2, faults={0: "leaves_children_and_hangs"}, executor={"grace_seconds": 10})
    s = case.start()
    wait_for(lambda: case.folder.trial(0).metrics.exists())
    case.server().kill()
    print(s.end())
    case.assert_nothing_lives()


@pytest.mark.parametrize("kind", ["function", "command"])
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGUSR1])
def test_term_all(case, kind, sig):
    case.write(kind=kind, workers=2, n_trials=4, seconds=0.3, executor={"grace_seconds": 10})
    s = case.start()
    case.wait_for_trials(2)
    time.sleep(0.3)
    for p in [*case.processes(), s]:
        os.kill(p.pid, sig)
    e = s.end()
    print(e)
    case.assert_nothing_lives()
    assert e.code == 75
    e = case.run()
    print(e)
    assert len(case.complete()) == 4
    assert_sound(case)


def test_moved_lock(case):
    case.write(n_trials=2)
    case.run()
    os.symlink(str(case.folder.journal) + "x", str(case.folder.journal) + ".lock")
    case.write(n_trials=3)
    s = case.start()
    print(s.end(8))
