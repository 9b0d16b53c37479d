"""A test that looks at log lines sees its own ones."""

import threading

import structlog
from structlog.testing import capture_logs

from tests.harness import own_lines

logger = structlog.get_logger()


def test_a_thread_that_an_earlier_test_left_writes_no_line_of_this_one() -> None:
    goes_on = threading.Event()

    def write(line: str) -> None:
        goes_on.wait(30)
        logger.warning(line)

    left = threading.Thread(target=write, args=("of an earlier test",))
    left.start()
    own_lines.begin()
    own = threading.Thread(target=write, args=("of a thread of this test",))
    own.start()
    with capture_logs() as lines:
        goes_on.set()
        left.join()
        own.join()
        logger.info("of this test")
    assert [line["event"] for line in lines] == ["of a thread of this test", "of this test"]
