"""Decoding requests."""

import subprocess
import sys

_COLD_START = """
import sys, threading
sys.setswitchinterval(1e-6)
from web.http import wire
from core.ledger.rules.requests import TransactionRequest
ready = threading.Barrier(32)
def first_request():
    ready.wait()
    wire.DECODERS[TransactionRequest].decode(b'{"amount": 1, "meta_data": {}}')
threads = [threading.Thread(target=first_request) for _ in range(32)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_first_requests_that_arrive_together_do_not_crash_the_process() -> None:
    """Making the decoders on first use crashed one cold start in ten, in msgspec's C code."""
    for _ in range(5):
        assert subprocess.run([sys.executable, "-c", _COLD_START], timeout=60, check=False).returncode == 0


def test_decoders_are_made_when_the_module_is_imported() -> None:
    made = "from web.http import wire; from core.ledger.rules.requests import *; assert len(wire.DECODERS) >= 17"
    assert subprocess.run([sys.executable, "-c", made], timeout=60, check=False).returncode == 0
