"""Defines the request of a monitor, and checks it."""

import re
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from core.base.decoding import Unread
from core.base.errors import ErrorCode
from core.base.metadata import meta_data_problems
from core.base.money import MAX_PRECISION
from core.base.problems import refusal
from core.base.sizes import description_problem
from core.base.unreadable import EXPECTED
from core.monitors.rules import FIELDS, OPERATORS, SYNONYMS, Mode

MAX_INTERVAL_S = 366 * 24 * 3600

Problems = list[tuple[str, str]]

_FIELD = Meta(description=f"The field of the balance that is watched: {', '.join(FIELDS)}.")
_OPERATOR = Meta(description=f"One of {', '.join(OPERATORS)}. == is understood as =.")
_VALUE = Meta(description="The threshold in major units, any number. It is never rounded.")
_PRECISION = Meta(description="The number of minor units in a major unit. The default is the currency's own.")
_PRECISE = Meta(
    description="The threshold in minor units, in place of value, or equal to it.",
    extra={EXPECTED: 'a whole number of minor units, such as -1250 or "1250"'},
)
_MODE = Meta(description="edge fires when the condition becomes true. level fires after each posting while it is true.")
_HYSTERESIS = Meta(
    description="The value must come back by more than this, in major units, before an edge can fire again."
)
_INTERVAL = Meta(description="The monitor does not fire again within so many seconds.")
_ONCE = Meta(description="The monitor is set to rest when it has fired.")
_FIRE_NOW = Meta(description="Fire at once if the condition is true already. The default is true.")


class ConditionRequest(Struct, forbid_unknown_fields=True):
    """The condition of a monitor."""

    field: Annotated[str, _FIELD] | None = None
    operator: Annotated[str, _OPERATOR] | None = None
    value: Annotated[Decimal, _VALUE] | None = None
    precision: Annotated[Decimal, _PRECISION] | None = None
    precise_value: Annotated[int | str, _PRECISE] | None = None


class MonitorRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /balance-monitors`` and ``PUT /balance-monitors/<id>``. An update replaces all of it."""

    balance_id: Annotated[str, Meta(description="The balance. An update may leave it out.")] | None = None
    condition: ConditionRequest | None = None
    description: str | None = None
    call_back_url: Annotated[str, Meta(description="Where firings are sent, beside the webhooks.")] | None = None
    meta_data: Raw = Raw(b"")
    mode: Annotated[str, _MODE] | None = None
    hysteresis: Annotated[Decimal, _HYSTERESIS] | None = None
    min_interval: Annotated[Decimal, _INTERVAL] | None = None
    once: Annotated[bool, _ONCE] | None = None
    fire_now: Annotated[bool, _FIRE_NOW] | None = None
    active: Annotated[bool, Meta(description="false sets the monitor to rest. The default is true.")] | None = None

    # A monitor that was read may be sent back. These change nothing.
    monitor_id: Any = None
    created_at: Any = None
    state: Any = None
    message: Any = None


def check(asked: MonitorRequest, unread: list[Unread], *, new: bool) -> ConditionRequest:
    """Check what can be checked without the ledger. Returns the condition.

    Raises:
        InvalidRequest: it lists every problem.
    """
    problems = _problems_of(asked, new=new)
    if problems or unread:
        raise refusal(unread, problems, ErrorCode.GEN_VALIDATION_ERROR)
    assert asked.condition is not None
    return asked.condition


def _problems_of(asked: MonitorRequest, *, new: bool) -> Problems:
    problems: Problems = []
    if new and not asked.balance_id:
        problems.append(("balance_id", "cannot be blank"))
    if asked.condition is not None:
        problems += _condition_problems(asked.condition)
    else:
        problems.append(("condition", "cannot be blank"))
    if asked.description is not None and (text := description_problem(asked.description)):
        problems.append(("description", text))
    if asked.meta_data:
        problems += meta_data_problems(bytes(asked.meta_data))
    if asked.mode is not None and asked.mode not in list(Mode):
        problems.append(("mode", f"must be {' or '.join(Mode)}"))
    if asked.hysteresis is not None and not asked.hysteresis >= 0:
        problems.append(("hysteresis", "must be zero or more"))
    elif asked.hysteresis and asked.condition is not None and asked.condition.operator == "!=":
        problems.append(("hysteresis", "means nothing with the operator !=, which ends at one value"))
    if asked.min_interval is not None and not 0 <= asked.min_interval <= MAX_INTERVAL_S:
        problems.append(("min_interval", f"must be from 0 to {MAX_INTERVAL_S} seconds"))
    return problems


def _condition_problems(asked: ConditionRequest) -> Problems:
    problems: Problems = []
    if not asked.field:
        problems.append(("condition.field", "cannot be blank"))
    elif asked.field in ("queued_debit_balance", "queued_credit_balance"):
        text = "is not known at a posting, because it counts what is not decided; available_balance is"
        problems.append(("condition.field", text))
    elif asked.field not in FIELDS:
        problems.append(("condition.field", f"must be one of {', '.join(FIELDS)}"))
    if not asked.operator:
        problems.append(("condition.operator", "cannot be blank"))
    elif SYNONYMS.get(asked.operator, asked.operator) not in OPERATORS:
        problems.append(("condition.operator", f"must be one of {', '.join(OPERATORS)}"))
    if asked.value is None and asked.precise_value is None:
        problems.append(("condition.value", "cannot be blank"))
    if asked.precision is not None and not (
        1 <= asked.precision <= MAX_PRECISION and asked.precision == int(asked.precision)
    ):
        problems.append(("condition.precision", f"must be a whole number from 1 to {MAX_PRECISION}"))
    if isinstance(asked.precise_value, str) and not re.fullmatch(r"-?[0-9]{1,1000}", asked.precise_value):
        problems.append(("condition.precise_value", "must be a whole number of minor units"))
    return problems
