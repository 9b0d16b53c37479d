"""Adds the table of ended sessions of the dashboard. The release before neither reads nor writes it."""

from alembic import op

revision = "0029"
down_revision = "0028"

ENDED_SESSIONS = """
CREATE TABLE ended_sessions (
    id     uuid NOT NULL,
    until  timestamptz NOT NULL,
    CONSTRAINT ended_sessions_pkey PRIMARY KEY (id)
);
"""


def upgrade() -> None:
    op.execute(ENDED_SESSIONS)
