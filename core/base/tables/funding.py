"""Defines the tables of funding jobs, their lists and their runs."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON

from core.base.tables.types import MinorUnits, Timestamp, metadata

funding_jobs = Table(
    "funding_jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("source", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("precision", BigInteger, nullable=False),
    Column("terms", JSON, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="of all that was asked, to tell a repetition from a mistake"),
    Column("row_count", BigInteger, comment="of its list; null where a rule says whom to fund"),
    Column("amount", MinorUnits, comment="of its list"),
    Column("status", Text, nullable=False),
    Column("next_due", Timestamp, comment="the first occurrence that is not dealt with"),
    Column("runs_made", BigInteger, nullable=False, server_default="0", comment="for its schedule"),
    Column("skipped", BigInteger, nullable=False, server_default="0", comment="occurrences that came and were not run"),
    Column("created_at", Timestamp, nullable=False),
    Column("content", LargeBinary, comment="of the pool, the money and the rows, to tell what was sent before"),
    Column(
        "repetition", BigInteger, nullable=False, server_default="0", comment="among the jobs of its content, from 0"
    ),
    Column("actor", Text, comment="the key that asked for it"),
    UniqueConstraint("reference", name="funding_jobs_reference_key"),
    UniqueConstraint("content", "repetition", name="funding_jobs_content_key"),
    CheckConstraint("status IN ('ACTIVE', 'PAUSED', 'CANCELLED', 'WAITING_APPROVAL')", name="funding_jobs_status"),
    CheckConstraint("status <> 'CANCELLED' OR next_due IS NULL", name="funding_jobs_cancelled_is_never_due"),
)
Index(
    "funding_jobs_due_idx",
    funding_jobs.c.next_due,
    postgresql_where=text("status = 'ACTIVE' AND next_due IS NOT NULL"),
)
Index("funding_jobs_source_idx", funding_jobs.c.source, postgresql_where=text("status <> 'CANCELLED'"))

funding_approvals = Table(
    "funding_approvals",
    metadata,
    Column("job", Uuid, primary_key=True),
    Column("asked_by", Text, nullable=False, comment="the key that asked for the job"),
    Column("owner", Text, nullable=False, comment="of that key; another one's must approve"),
    Column("status", Text, nullable=False, server_default="WAITING"),
    Column("digest", LargeBinary, comment="of what was approved: the terms, and the rows"),
    Column("decided_by", Text),
    Column("decided_at", Timestamp),
    Column("reason", Text),
    Column("pledged", Boolean, nullable=False, server_default="true", comment="false for those before pledges"),
    CheckConstraint("status IN ('WAITING', 'APPROVED', 'REFUSED')", name="funding_approvals_status"),
    CheckConstraint("status <> 'APPROVED' OR digest IS NOT NULL", name="funding_approvals_approved_has_digest"),
)

funding_rows = Table(
    "funding_rows",
    metadata,
    Column("list", Uuid, nullable=False, comment="the job that has this list, or the run that it was made for"),
    Column("row", BigInteger, nullable=False, comment="line of the CSV, or position in the list, from 1"),
    Column("destination", BigInteger, nullable=False),
    Column("amount", MinorUnits, nullable=False),
    Column("description", Text, comment="null is the job's"),
    Column("meta_data", JSON),
    PrimaryKeyConstraint("list", "row", name="funding_rows_pkey"),
    CheckConstraint("amount > 0", name="funding_rows_amount_positive"),
)

funding_runs = Table(
    "funding_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job", Uuid, ForeignKey("funding_jobs.id", name="funding_runs_job_fkey"), nullable=False),
    Column("occurrence", Text, nullable=False, comment="what it is for: a due time, or what it was asked for by"),
    Column("due_at", Timestamp, nullable=False),
    Column("retry_of", Uuid, comment="the run whose rejected or unposted rows it posts"),
    Column("status", Text, nullable=False),
    Column("list", Uuid, comment="whose rows it posts; null before it starts"),
    Column("row_count", BigInteger),
    Column("amount", MinorUnits),
    Column("last_row", BigInteger, comment="rows after it are beyond the limit, and are not posted"),
    Column("posted_row", BigInteger, nullable=False, server_default="0", comment="rows up to it are in the log"),
    Column("posted", BigInteger, nullable=False, server_default="0"),
    Column("posted_amount", MinorUnits, nullable=False, server_default="0"),
    Column("refusal", JSON, comment="why nothing of it was posted"),
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp),
    Column("progressed_at", Timestamp),
    Column("ended_at", Timestamp),
    Column("applied", BigInteger, comment="rows that moved or hold money; null until all are decided"),
    Column("applied_amount", MinorUnits, comment="what they moved or hold"),
    Column("rejected", BigInteger),
    Column("actor", Text, comment="the key that asked for it; null for one of its schedule"),
    UniqueConstraint("job", "occurrence", name="funding_runs_occurrence_key"),
    CheckConstraint(
        "status IN ('PENDING', 'POSTING', 'POSTED', 'COMPLETED', 'REFUSED', 'CANCELLED')", name="funding_runs_status"
    ),
)
Index(
    "funding_runs_unfinished_idx",
    funding_runs.c.job,
    funding_runs.c.due_at,
    funding_runs.c.id,
    postgresql_where=text("status IN ('PENDING', 'POSTING', 'POSTED')"),
)

Index("funding_runs_retry_of_idx", funding_runs.c.retry_of, postgresql_where=text("retry_of IS NOT NULL"))

funding_retries = Table(
    "funding_retries",
    metadata,
    Column("retry", Uuid, nullable=False, comment="the run that posts the row once more"),
    Column("row", BigInteger, nullable=False),
    Column("run", Uuid, nullable=False, comment="the run that rejected the row, or did not post it"),
    PrimaryKeyConstraint("retry", "row", name="funding_retries_pkey"),
    UniqueConstraint("run", "row", name="funding_retries_run_key"),
)

funding_digests = Table(
    "funding_digests",
    metadata,
    Column("list", Uuid, nullable=False),
    Column("chunk", BigInteger, nullable=False, comment="a thousand rows, from 0"),
    Column("digest", LargeBinary, nullable=False, comment="over its rows as they were accepted"),
    PrimaryKeyConstraint("list", "chunk", name="funding_digests_pkey"),
)

funding_postings = Table(
    "funding_postings",
    metadata,
    Column("run", Uuid, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False, comment="the row's transaction in the log"),
    PrimaryKeyConstraint("run", "row", name="funding_postings_pkey"),
)
