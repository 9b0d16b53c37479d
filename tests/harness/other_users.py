"""Tries what another user of this machine could: it becomes ``nobody`` in a process of its own."""

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

from tests.harness.programs import missing_program


def as_nobody(attempt: Callable[[], list[str]]) -> list[str]:
    """Run this as nobody and return what it returns. Only root can."""
    if os.geteuid() != 0:
        missing_program("root")
    nobody = pwd.getpwnam("nobody")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
            os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
            found = attempt()
        except BaseException as error:
            found = [f"the attempt itself failed: {error!r}"]
        os.write(writing, json.dumps(found[:50]).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as result:
        answer = result.read()
    os.waitpid(child, 0)
    assert answer, "the process of nobody died"
    return [str(each) for each in json.loads(answer)]


def opened(path: Path) -> list[str]:
    """List the ways in which this process can open a file or a folder."""
    found = []
    for way, flags in (("read", os.O_RDONLY | os.O_NONBLOCK), ("written", os.O_WRONLY | os.O_NONBLOCK)):
        try:
            os.close(os.open(path, flags))
        except OSError:
            continue
        found.append(f"{path} can be {way}")
    return found
