"""Lets a long command say how it ended, whatever ended it: a signal, want of memory, or an error.

A process that is killed says nothing. So the command goes on in a child, and its parent waits for that, and needs no memory.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_ENDS = (signal.SIGTERM, signal.SIGHUP)


def watch_over(say: Callable[[str], None]) -> None:
    """Go on in a child process. This one waits for it, says so if a signal ended it, and exits with its status.

    The child ends in order at SIGTERM and SIGHUP, and stops what it has started. It has no threads yet when this is called.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # Until both know what to do about them.
    child = os.fork()
    if child == 0:
        for number in _ENDS:
            signal.signal(number, _end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        return
    _wait(child, say)


def _wait(child: int, say: Callable[[str], None]) -> NoReturn:
    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal sends it to the child too.
    for number in _ENDS:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        name = signal.Signals(-code).name
        why = "; the machine may have had too little memory, which its kernel's log says" if name == "SIGKILL" else ""
        say(f"it was ended by {name} before its end, so nothing is known{why}")
        code = 128 - code
    elif code not in (0, 1):
        say(f"it ended before its end, with status {code}")
    os._exit(code)  # What is to be cleaned up is the child's.


def _end(number: int, frame: FrameType | None) -> NoReturn:
    for each in _ENDS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)
