"""A client of Pacioli over HTTP. ``connect()`` returns a ``Client``, ``connect_async()`` an ``AsyncClient``.

Start reading in ``client.py``.

The package is a distribution of its own, so it exports the names that a program needs. It knows nothing of the ledger's code.
"""

from pacioli_client.client import AsyncClient as AsyncClient
from pacioli_client.client import Client as Client
from pacioli_client.errors import PacioliError as PacioliError
from pacioli_client.local import connect as connect
from pacioli_client.local import connect_async as connect_async
from pacioli_client.requests import Clause as Clause
from pacioli_client.requests import File as File
from pacioli_client.requests import NewBalance as NewBalance
from pacioli_client.requests import NewBatch as NewBatch
from pacioli_client.requests import NewJob as NewJob
from pacioli_client.requests import NewLimits as NewLimits
from pacioli_client.requests import NewTransaction as NewTransaction
from pacioli_client.requests import Recipient as Recipient
from pacioli_client.requests import Refund as Refund
from pacioli_client.requests import Rule as Rule
from pacioli_client.requests import Settlement as Settlement
from pacioli_client.requests import Share as Share
