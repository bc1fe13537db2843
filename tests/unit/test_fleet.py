"""A fleet's workers are told to end whenever the fleet is; no server is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers.process import ROOT

#: A fleet of three that is told to end while its second worker is being started.
EARLY = """
import os, signal, sys
from coordinator.fleet import Fleet

def command(slot):
    if slot == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return [sys.executable, "-c", "import signal; signal.pause()"]

print(Fleet(command, 3).run())
"""
#: A fleet of one that is interrupted twice, by its worker, which waits for what it is told each time.
TWICE = """
import sys
from coordinator.fleet import Fleet

WORKER = '''
import os, signal
numbers = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
told = []
for _ in range(2):
    os.kill(os.getppid(), signal.SIGINT)
    told.append(signal.Signals(signal.sigwait(numbers)).name)
print(*told, flush=True)
'''
Fleet(lambda slot: [sys.executable, "-c", WORKER], 1).run()
"""


@pytest.mark.parametrize(("program", "said"), [(EARLY, "15"), (TWICE, "SIGTERM SIGQUIT")])
def test_fleet_ends_its_workers_when_it_is_told_to_at_any_time(program, said):
    """Also those that were just being started; warm on the first interrupt, cold on the second."""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stdout.strip()) == (0, said), ended.stderr
