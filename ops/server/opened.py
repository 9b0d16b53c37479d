"""Opens the database of an instance, and reads what is known of it outside."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from core.base import logs
from core.base.db import LONG_S, connect
from core.base.setting_values import notary_key
from core.doors import watches
from core.migrations.fitness import Unfit, refuse_unfit
from core.notary.published import read_lines
from core.notary.seals import keypair
from core.verification.sealed import Known
from ops.server.instance import As, Unavailable, settings, url_of
from ops.server.keys import NOTARY_KEY_FILE, SEALS_FILE


@contextmanager
def database(data: Path, role: As = As.APP, *, to_migrate: bool = False) -> Iterator[Engine]:
    """Open an engine for the database of the environment, else of the instance that runs in the data folder.

    Raises:
        Unavailable: there is neither, or the database is unfit for what the command does.
    """
    logs.tell_warnings()
    watches.hand_in()  # Some commands decide transactions.
    engine = connect(url_of(role, data), connections=6, within_s=LONG_S, pooler=settings().pooler)
    try:
        if role is not As.NOTARY:  # It may not read enough for the check, and the command has opened it as app before.
            refuse_unfit(engine, to_migrate=to_migrate)
        yield engine
    except Unfit as error:
        raise Unavailable(str(error)) from None
    finally:
        engine.dispose()


_PUBLISHED = 1_000
"""So many of the newest seals in the data folder are compared without being asked for."""


def known_of(data: Path, against: Path | None) -> Known:
    """Return what is known of the notary's seals outside the database: its public key, and what it has published.

    They come from the setting and from a file, else from the data folder unless DATABASE_URL is set.

    Raises:
        Unavailable: the key or the file cannot be read.
    """
    known = settings()
    keys = known.notary_public_key or frozenset()
    is_here = known.database_url is None
    key_path, seals_path = data / NOTARY_KEY_FILE, data / SEALS_FILE
    path = against or seals_path
    try:
        if not keys and is_here and key_path.exists():
            earlier = key_path.with_name(f"{key_path.name}.earlier")
            known_before = earlier.read_text().split() if earlier.exists() else []
            keys = frozenset([keypair(notary_key(key_path.read_text().strip())).public, *known_before])
        if against is None and not (is_here and seals_path.exists()):
            return Known(keys=keys)
        with path.open(errors="replace") as file:
            lines = list(file) if against else list(deque(file, _PUBLISHED))
            return Known(keys=keys, published=list(read_lines(lines)))
    except (OSError, ValueError) as error:
        raise Unavailable(f"{path}: {error}") from None
