"""Names the URLs by which the parts of ``pacioli up`` reach the database, one for each role."""

from collections.abc import Mapping

import psycopg
from sqlalchemy import make_url

from core.base.database_url import DEFAULTS, parameters
from core.base.variables import without_password
from ops.server.private import StartError

APP = "DATABASE_URL"
OWNER = "PACIOLI_OWNER_URL"
NOTARY = "PACIOLI_NOTARY_URL"


def of_private(url: str) -> dict[str, str]:
    """Return the variables that lead the owner, the service and the notary to a private database.

    The roles have no passwords. Whoever can open the socket can also open the file that a password would be in.
    """
    database = make_url(url)
    roles = {APP: f"{database.database}_app", NOTARY: f"{database.database}_notary"}
    urls = {name: database.set(username=role).render_as_string(hide_password=False) for name, role in roles.items()}
    return {OWNER: url, **urls}


def check(env: Mapping[str, str]) -> bool:
    """See whether the environment names a database that answers. Returns False when it names none.

    Raises:
        StartError: the database does not answer, or only some of the roles have a URL.
    """
    if not env.get(APP):
        if alone := next((name for name in (OWNER, NOTARY) if env.get(name)), None):
            raise StartError(
                f"{alone} is set, and {APP} is not: set {APP} too, or unset {alone} to get a private database"
            )
        return False
    variable = OWNER if env.get(OWNER) else APP  # The role of the other may be made by the migrations.
    try:
        psycopg.connect(**(DEFAULTS | parameters(env[variable]))).close()  # type: ignore[arg-type]
    except psycopg.Error as error:
        reason = without_password(" ".join(str(error).split()))
        raise StartError(
            f"{variable} does not answer ({reason}): start that Postgres, or unset {APP} to get a private one"
        ) from None
    return True
