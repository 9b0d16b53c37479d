"""The writer of the log neither waits nor fails, whatever becomes of its stream, and says how much it lost."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from core.base import lines as module
from core.base.lines import WAITING_MAX, Lines

SOON_S = 10.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe: the descriptor of its reading end, and its writing end."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        yield reader, stream
        os.close(reader)  # What still waits to be written fails, so that no thread stays behind.


def told(count: int) -> str:
    return f"{count} lost"


def read_until(reader: int, last: bytes) -> list[bytes]:
    read = b""
    while not read.endswith(last + b"\n"):
        read += os.read(reader, 65_536)
    return read.splitlines()


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    lines = Lines(stream, told)
    for number in range(1000):
        lines.write(f"{number} äß \udcff")
    assert lines.flush(SOON_S)
    last = "999 äß \\udcff".encode()
    assert read_until(reader, last) == [f"{number} äß \\udcff".encode() for number in range(1000)]


def test_a_full_pipe_holds_nobody_up_and_the_loss_is_told(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    lines = Lines(stream, told)
    written = 3 * WAITING_MAX
    started = time.monotonic()
    for number in range(written):
        lines.write(f"line {number} " + "x" * 100)
    assert time.monotonic() - started < SOON_S
    assert not lines.flush(0.01)  # The thread stands still, as the pipe is full.
    read: list[bytes] = []
    reading = threading.Thread(target=lambda: read.extend(read_until(reader, b"the last")))
    reading.start()
    assert lines.flush(SOON_S)
    lines.write("the last")
    reading.join(SOON_S)
    lost = sum(int(line.split()[0]) for line in read if line.endswith(b" lost"))
    kept = [line for line in read if line.startswith(b"line ")]
    assert lost > WAITING_MAX
    assert lost + len(kept) == written
    numbers = [int(line.split()[1]) for line in kept]
    assert numbers == sorted(set(numbers))


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    lines = Lines(stream, told)
    for number in range(2000):
        lines.write(f"{number} " + "x" * 100)
    lines.write("the last")
    read = read_until(reader, b"the last")
    assert [int(line.split()[0]) for line in read[:-1]] == list(range(2000))


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF])
def test_what_cannot_be_written_is_dropped_and_told_when_it_works_again(
    failure: int, pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, stream = pipe
    lines = Lines(stream, told)
    write = os.write
    short = [4]

    def failing(descriptor: int, data: Any) -> int:
        if descriptor != stream.fileno():
            return write(descriptor, data)
        if short:  # The disk takes the beginning of a line, and is full then.
            return write(descriptor, data[: short.pop()])
        raise OSError(failure, os.strerror(failure))

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", failing)
        lines.write("first line")
        assert lines.flush(SOON_S)
        lines.write("second line")
        assert lines.flush(SOON_S)
    lines.write("third line")
    assert lines.flush(SOON_S)
    assert read_until(reader, b"2 lost") == [b"firs", b"third line", b"2 lost"]


def test_a_reader_that_has_gone_is_no_fault(pipe: tuple[int, TextIO]) -> None:
    lines = Lines(pipe[1], told)
    os.dup2(os.open(os.devnull, os.O_RDONLY), pipe[0])  # Closes the reading end.
    lines.write("into the void")
    assert lines.flush(SOON_S)


def test_a_missing_or_closed_stream_is_no_fault(tmp_path: Path) -> None:
    closed = (tmp_path / "log").open("w")
    closed.close()
    for stream in (None, closed):
        lines = Lines(stream, told)
        lines.write("nobody reads this")
        assert lines.flush()


def test_a_fault_of_the_thread_is_not_its_end(pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(pipe[1], told)
    with monkeypatch.context() as patch:
        patch.setattr(lines, "_write", lambda *_: 1 // 0)
        lines.write("lost")
        assert lines.flush(SOON_S)
    lines.write("still there")
    assert read_until(pipe[0], b"still there") == [b"still there"]


def test_a_child_writes_its_own_lines_and_none_of_its_parent(tmp_path: Path) -> None:
    code = """
import os, sys
from core.base import lines
out = lines.Lines(sys.stdout, str)
out.write("parent")
out.flush()
if os.fork() == 0:
    out.write("child")
    lines.flush(10)
    os._exit(0)
os.wait()
out.write("parent again")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["parent", "child", "parent again"]


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    code = "import sys; from core.base.lines import Lines; out = Lines(sys.stdout, str)\n"
    code += "for _ in range(3000): out.write('x' * 100)\nprint('done', file=sys.stderr)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.wait(3 * SOON_S) in (0, -signal.SIGPIPE)
        assert process.stderr is not None
        assert b"done" in process.stderr.read()
