"""Asks the person at the terminal. Without a terminal nobody is asked, and the answer is no."""

import sys

import click


def at_terminal() -> bool:
    """Tell whether somebody can be asked, and sees the question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirmed(question: str) -> bool:
    """Ask a question whose answer is yes or no. The end of input, Ctrl-C and the absence of a terminal mean no."""
    if not at_terminal():
        return False
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        return False
