"""Lets a thread that many requests share leave those that take waiting to another thread.

Whatever may wait, such as a use of the database, calls ``about_to_wait`` first. In a thread that is in a hurry this ends the
work by ``WouldWait``, before it has done anything that counts, and whoever gave the work does it anew elsewhere.
"""

import threading


class WouldWait(BaseException):
    """The work takes waiting. It is no ``Exception``, because no handler of errors may take it for one."""


class _Thread(threading.local):
    hurries = False


_thread = _Thread()


def hurry(hurries: bool) -> None:
    """Say whether this thread may not wait from now on."""
    _thread.hurries = hurries


def about_to_wait() -> None:
    """Go on, unless this thread may not wait.

    Raises:
        WouldWait: it may not.
    """
    if _thread.hurries:
        raise WouldWait
