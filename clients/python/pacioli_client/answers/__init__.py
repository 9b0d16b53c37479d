"""The answers of the service, a module for each resource, field by field as they are sent.

An ``int`` is minor units or a count, and a ``Decimal`` is major units. A field that is not always sent is ``UNSET`` when it
was not sent. A field that this version does not know is dropped.
"""

from datetime import UTC, datetime

NO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""The service sends this date where a date is not set."""
