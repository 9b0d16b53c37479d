"""Databases for tests, on a server that is there already."""

import itertools

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core import migrations
from core.base.db import connect

_numbers = itertools.count(1)


def new_database(server: str) -> str:
    """URL of a migrated database that nobody else uses."""
    name = f"test_{next(_numbers)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    engine = connect(url)
    migrations.upgrade(engine)
    engine.dispose()
    return url
