"""Checks the sizes of new texts, as ``core/base/sizes.py`` has them. Older rows may be larger, and stay as they are.

No row is read, so no table is held for longer than a moment. A row that repeats the text of an older one may be as large:
a settlement, a refund, the leg of a split, a posting of a funding run, and a scheduled transaction that is due.

Rows of the log never change, so a constraint that is not valid for older ones is enough. It would refuse every change of
an older row elsewhere, such as the new total of a balance, so triggers look at new texts there. They run after the row is
written, because a trigger before it would make COPY write one row at a time.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

# The kinds 3, 4 and 6 settle holds and refund.
SIZES = """
ALTER TABLE log
    ADD CONSTRAINT log_texts_fit CHECK (
        octet_length(description) <= 4096 AND octet_length(meta_data::text) <= 65536
        OR kind IN (3, 4, 6)
        OR coalesce(left(parent, 4) IN ('run_', 'txn_'), false)
        OR coalesce(terms ->> 'scheduled_at' IS NOT NULL, false)
    ) NOT VALID;

ALTER TABLE scheduled
    ADD CONSTRAINT scheduled_texts_fit CHECK (
        octet_length(description) <= 4096 AND octet_length(meta_data::text) <= 65536
        OR cancelled_at IS NOT NULL
    ) NOT VALID;

CREATE FUNCTION refuse_large_texts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a text of % is too large', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;

CREATE FUNCTION refuse_large_texts_of_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM funding_runs WHERE id = NEW.list) THEN
        RETURN NULL;  -- A run that is tried again repeats the rows of an older list.
    END IF;
    RAISE EXCEPTION 'a text of % is too large', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;

CREATE TRIGGER funding_rows_texts_fit AFTER INSERT ON funding_rows
    FOR EACH ROW
    WHEN (octet_length(NEW.description) > 4096 OR octet_length(NEW.meta_data::text) > 65536)
    EXECUTE FUNCTION refuse_large_texts_of_jobs();

CREATE TRIGGER funding_jobs_texts_fit AFTER INSERT ON funding_jobs
    FOR EACH ROW
    WHEN (char_length(NEW.name) > 255 OR octet_length(NEW.terms ->> 'description') > 4096)
    EXECUTE FUNCTION refuse_large_texts();

-- Postgres writes this JSON with blanks that the client may have left out, so twice the limit is allowed. The check is at
-- the end of the transaction, because the service looks at the size after the merge and says it to the client.
CREATE CONSTRAINT TRIGGER ledgers_texts_fit AFTER INSERT ON ledgers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (char_length(NEW.name) > 255 OR octet_length(NEW.meta_data::text) > 131072)
    EXECUTE FUNCTION refuse_large_texts();

CREATE CONSTRAINT TRIGGER ledgers_name_fits AFTER UPDATE OF name ON ledgers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (char_length(NEW.name) > 255)
    EXECUTE FUNCTION refuse_large_texts();

CREATE CONSTRAINT TRIGGER ledgers_meta_data_fits AFTER UPDATE OF meta_data ON ledgers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (octet_length(NEW.meta_data::text) > 131072)
    EXECUTE FUNCTION refuse_large_texts();

CREATE CONSTRAINT TRIGGER balances_texts_fit AFTER INSERT ON balances
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (char_length(NEW.indicator) > 255 OR octet_length(NEW.meta_data::text) > 131072)
    EXECUTE FUNCTION refuse_large_texts();

CREATE CONSTRAINT TRIGGER balances_meta_data_fits AFTER UPDATE OF meta_data ON balances
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (octet_length(NEW.meta_data::text) > 131072)
    EXECUTE FUNCTION refuse_large_texts();

CREATE CONSTRAINT TRIGGER annotations_meta_data_fits AFTER INSERT OR UPDATE ON annotations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (octet_length(NEW.meta_data::text) > 131072)
    EXECUTE FUNCTION refuse_large_texts();
"""


def upgrade() -> None:
    op.execute(SIZES)
