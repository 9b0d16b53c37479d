"""The requests of one intake that have problems, each with its error."""

from collections.abc import Sequence

from core.base.decoding import Unread
from core.base.errors import ErrorCode, InvalidRequest, LedgerError, NotFound
from core.base.problems import Problems, refusal, refusal_of_batch


class Failures:
    """Collects the errors of requests by their index, over all steps of the intake.

    With ``of_batch`` the requests were sent together, and a message says which one it is about.
    """

    def __init__(self, *, of_batch: bool) -> None:
        self.of_batch = of_batch
        self._errors: dict[int, LedgerError] = {}

    def add(
        self,
        index: int,
        problems: Problems,
        code: ErrorCode = ErrorCode.TXN_VALIDATION_ERROR,
        unread: Sequence[Unread] = (),
    ) -> None:
        """Note the problems of a request. The index -1 stands for the body around a batch."""
        within = f"transactions[{index}]" if self.of_batch and index >= 0 else ""
        self._errors[index] = refusal(unread, problems, code, within=within)

    def add_error(self, index: int, error: InvalidRequest) -> None:
        """Note the error of a step that stops at the first problem of a request."""
        self.add(index, error.problems, error.code)
        if not self.of_batch:
            self._errors[index].details = error.details

    def add_unknown(self, index: int, problems: Sequence[tuple[str, str]]) -> None:
        """Note that a request names balances that are not there."""
        error = self._errors[index] = NotFound(ErrorCode.BAL_NOT_FOUND, problems[0][1])
        error.problems = list(problems)

    def raise_any(self) -> None:
        """Refuse the requests, if any has a problem.

        Raises:
            InvalidRequest, NotFound: with the problems of all.
        """
        if self._errors:
            raise refusal_of_batch(self._errors) if self.of_batch else self._errors[min(self._errors)]
