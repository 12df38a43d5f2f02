-- Keys, limits, usage and the audit log of accounts.

ALTER TABLE account
    ADD COLUMN calls_per_second   integer,
    ADD COLUMN uploads_per_minute integer,
    ADD COLUMN open_requests      integer,
    ADD COLUMN images_per_day     bigint,
    ADD COLUMN stored_bytes       bigint;

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
