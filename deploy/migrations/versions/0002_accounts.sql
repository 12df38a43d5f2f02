-- Keys, limits, usage and the audit log of accounts.

ALTER TABLE account
    ADD COLUMN calls_per_second   integer,
    ADD COLUMN uploads_per_minute integer,
    ADD COLUMN open_requests      integer,
    ADD COLUMN images_per_day     bigint,
    ADD COLUMN stored_bytes       bigint,
    ADD COLUMN kept_bytes         bigint NOT NULL DEFAULT 0,
    ADD COLUMN configured_digest  text;  -- SHA-256 of the HALFTONE_WEBHOOK_SECRET that was taken over last

CREATE TABLE api_key (
    id           text PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    digest       text NOT NULL,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX key_of_account ON api_key (account_id, id);

CREATE TABLE audit_entry (
    id         uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text NOT NULL,
    detail     jsonb NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_newest ON audit_entry (account_id, id DESC);

CREATE TABLE account_usage (
    account_id uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    day        date NOT NULL,
    images     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, day)
);

-- `kept_bytes`: what the renditions of an account's finished requests take. Kept as a sum, because an account may have
-- 100,000 requests; changed only where a request is finished, reopened or deleted, so that the row is rarely locked.
-- With the rights of the owner: a service that finishes or deletes a request needs none on accounts. So the table is named
-- with its schema: a caller's temporary `account` must not be taken for it.
CREATE FUNCTION count_kept_bytes() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    change bigint := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.finished_at IS NOT NULL THEN
        change := change - OLD.rendition_bytes;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.finished_at IS NOT NULL THEN
        change := change + NEW.rendition_bytes;
    END IF;
    IF change <> 0 THEN
        EXECUTE format('UPDATE %I.account SET kept_bytes = kept_bytes + $1 WHERE id = $2', TG_TABLE_SCHEMA)
            USING change, coalesce(NEW.account_id, OLD.account_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER request_bytes_begin AFTER INSERT ON processing_request FOR EACH ROW
    WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION count_kept_bytes();
CREATE TRIGGER request_bytes_change AFTER UPDATE ON processing_request FOR EACH ROW
    WHEN ((OLD.finished_at IS NULL) <> (NEW.finished_at IS NULL)
          OR NEW.finished_at IS NOT NULL AND OLD.rendition_bytes <> NEW.rendition_bytes)
    EXECUTE FUNCTION count_kept_bytes();
CREATE TRIGGER request_bytes_end AFTER DELETE ON processing_request FOR EACH ROW
    WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION count_kept_bytes();
UPDATE account a SET kept_bytes = (SELECT coalesce(sum(r.rendition_bytes), 0) FROM processing_request r
                                   WHERE r.account_id = a.id AND r.finished_at IS NOT NULL);
