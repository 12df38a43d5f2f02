-- The tables of shared/schemas/tables.py. Identifiers are UUIDv7, made by the services.

CREATE TABLE account (
    id                    uuid PRIMARY KEY,
    name                  text NOT NULL UNIQUE,
    signing_secret        text NOT NULL,
    previous_secret       text,
    previous_secret_until timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE processing_request (
    id                    uuid PRIMARY KEY,
    account_id            uuid NOT NULL REFERENCES account (id),
    run                   integer NOT NULL DEFAULT 1,
    status                text NOT NULL DEFAULT 'pending'
                          CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    stop_reason           text CHECK (stop_reason IN ('cancelled', 'expired')),
    quality               smallint NOT NULL DEFAULT 50,
    mode                  text NOT NULL DEFAULT 'absolute',
    format                text NOT NULL DEFAULT 'keep',
    max_side              integer,
    webhook_url           text,
    products              integer NOT NULL,
    images                integer NOT NULL,
    rejected              integer NOT NULL DEFAULT 0,
    open_groups           integer NOT NULL DEFAULT 0 CHECK (open_groups >= 0),
    completed             integer NOT NULL DEFAULT 0,
    failed                integer NOT NULL DEFAULT 0,
    cancelled             integer NOT NULL DEFAULT 0,
    source_bytes          bigint NOT NULL DEFAULT 0,
    rendition_bytes       bigint NOT NULL DEFAULT 0,
    mark_at               timestamptz,
    mark_settled          integer NOT NULL DEFAULT 0,
    previous_mark_at      timestamptz,
    previous_mark_settled integer NOT NULL DEFAULT 0,
    created_at            timestamptz NOT NULL DEFAULT now(),
    started_at            timestamptz,
    finished_at           timestamptz,
    deadline_at           timestamptz NOT NULL,
    dispatch_at           timestamptz DEFAULT now(),
    sources_deleted_at    timestamptz,
    idempotency_key       text,
    idempotency_hash      text,
    accepted_body         jsonb,
    CHECK (completed + failed + cancelled <= images)
);
CREATE INDEX request_newest ON processing_request (account_id, created_at DESC, id DESC);
CREATE INDEX request_newest_of_status ON processing_request (account_id, status, created_at DESC, id DESC);
CREATE INDEX request_finished_at ON processing_request (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX request_with_sources ON processing_request (finished_at)
    WHERE finished_at IS NOT NULL AND sources_deleted_at IS NULL;
CREATE INDEX request_open ON processing_request (deadline_at) WHERE finished_at IS NULL;
CREATE INDEX request_stopped ON processing_request (id) WHERE finished_at IS NULL AND stop_reason IS NOT NULL;
CREATE INDEX request_dispatch_at ON processing_request (dispatch_at) WHERE dispatch_at IS NOT NULL;
CREATE UNIQUE INDEX request_idempotency ON processing_request (account_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- No foreign keys from here to `erasure`: a million checks took longer than the COPY itself, and a million cascades held
-- their locks for a minute. Rows are made with their request, in one transaction, and `erase_rows` deletes them.
CREATE TABLE product (
    request_id    uuid NOT NULL,
    row           integer NOT NULL,
    serial_number text NOT NULL,
    name          text NOT NULL,
    images        integer[] NOT NULL,
    PRIMARY KEY (request_id, row)
);

CREATE TABLE rejected_row (
    request_id uuid NOT NULL,
    number     integer NOT NULL,
    error      jsonb NOT NULL,
    PRIMARY KEY (request_id, number)
);

CREATE TABLE image_group (
    request_id      uuid NOT NULL,
    number          integer NOT NULL,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'dispatched', 'settled')),
    dispatch_no     integer NOT NULL DEFAULT 0,
    reconcile_at    timestamptz,
    reconcile_delay integer NOT NULL DEFAULT 60,
    in_flight       integer NOT NULL DEFAULT 0,
    images          integer NOT NULL,
    completed       integer NOT NULL DEFAULT 0,
    failed          integer NOT NULL DEFAULT 0,
    cancelled       integer NOT NULL DEFAULT 0,
    source_bytes    bigint NOT NULL DEFAULT 0,
    rendition_bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (request_id, number),
    CHECK (completed + failed + cancelled <= images),
    CHECK (state <> 'settled' OR completed + failed + cancelled = images)
) WITH (fillfactor = 50);  -- updated once a batch: leave room for it on the same page
CREATE INDEX group_reconcile_at ON image_group (reconcile_at) WHERE reconcile_at IS NOT NULL;
CREATE INDEX group_open ON image_group (request_id, state, number) WHERE state <> 'settled';
CREATE INDEX group_counted ON image_group (request_id, number) WHERE state <> 'settled' AND dispatch_no > 0;

CREATE TABLE image (
    request_id        uuid NOT NULL,
    number            integer NOT NULL,
    url               text NOT NULL,
    state             text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'completed', 'failed', 'cancelled')),
    run               integer NOT NULL DEFAULT 1,
    attempts          smallint NOT NULL DEFAULT 0,
    not_before        timestamptz NOT NULL DEFAULT now(),
    claimed_by        uuid,
    deferred          boolean NOT NULL DEFAULT false,
    isolated          boolean NOT NULL DEFAULT false,
    error_code        text,
    error_detail      text,
    source_bytes      bigint,
    source_format     text,
    source_width      integer,
    source_height     integer,
    source_sha256     text,
    rendition_bytes   bigint,
    rendition_format  text,
    rendition_width   integer,
    rendition_height  integer,
    rendition_sha256  text,
    rendition_quality smallint,
    kept_original     boolean,
    PRIMARY KEY (request_id, number),
    CHECK (state <> 'completed' OR rendition_sha256 IS NOT NULL),
    CHECK (state NOT IN ('failed', 'cancelled') OR error_code IS NOT NULL)
) WITH (fillfactor = 35);  -- a settled row is thrice as long: both updates stay on its page, and write no index

-- Deleted requests with more rows than were deleted with them: housekeeping deletes the rest in batches, then the files.
CREATE TABLE erasure (
    request_id  uuid PRIMARY KEY,
    next_number integer NOT NULL DEFAULT 1,
    last_number integer NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE event (
    id         uuid PRIMARY KEY,
    request_id uuid NOT NULL REFERENCES processing_request (id) ON DELETE CASCADE,
    run        integer NOT NULL,
    type       text NOT NULL,
    body       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX event_once ON event (request_id, run);

CREATE TABLE delivery (
    id              uuid PRIMARY KEY,
    event_id        uuid NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    request_id      uuid NOT NULL,
    url             text NOT NULL,
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'stopped', 'exhausted')),
    attempt         integer NOT NULL DEFAULT 0,
    first_attempt   integer NOT NULL DEFAULT 1,
    next_attempt_at timestamptz,
    enqueued_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX delivery_once ON delivery (event_id, url);
CREATE INDEX delivery_due ON delivery (next_attempt_at) WHERE status = 'pending';
CREATE INDEX delivery_exhausted ON delivery (id) WHERE status = 'exhausted';
CREATE INDEX delivery_of_request ON delivery (request_id);

CREATE TABLE delivery_attempt (
    delivery_id      uuid NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    number           integer NOT NULL,
    at               timestamptz NOT NULL DEFAULT now(),
    status_code      integer,
    error            text,
    duration_ms      integer NOT NULL,
    response_excerpt text NOT NULL DEFAULT '',
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE broker_epoch (
    id             integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    epoch          uuid NOT NULL,
    begun_at       timestamptz NOT NULL DEFAULT now(),
    repair_request uuid,
    repair_group   integer
);
INSERT INTO broker_epoch (epoch) VALUES (gen_random_uuid());

CREATE TABLE store_identity (
    id       integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    store_id uuid NOT NULL
);
INSERT INTO store_identity (store_id) VALUES (gen_random_uuid());

-- What is settled stays settled: only a new run (`retry`) leads out of a terminal state.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% % is terminal (%) and cannot become % in run %',
        TG_TABLE_NAME, to_jsonb(OLD) ->> TG_ARGV[0], to_jsonb(OLD) ->> TG_ARGV[1], to_jsonb(NEW) ->> TG_ARGV[1], NEW.run
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER image_stays_settled BEFORE UPDATE ON image FOR EACH ROW
    WHEN (OLD.state <> 'pending' AND NEW.state IS DISTINCT FROM OLD.state AND NEW.run <= OLD.run)
    EXECUTE FUNCTION refuse_change('number', 'state');
CREATE TRIGGER request_stays_terminal BEFORE UPDATE ON processing_request FOR EACH ROW
    WHEN (OLD.status IN ('completed', 'failed', 'cancelled') AND NEW.status IS DISTINCT FROM OLD.status
          AND NEW.run <= OLD.run)
    EXECUTE FUNCTION refuse_change('id', 'status');

-- Products, rejected rows, groups and images are all numbered from 1: erase those from `first` to `last`.
CREATE FUNCTION erase_rows(request uuid, first integer, last integer) RETURNS void LANGUAGE sql AS $$
    DELETE FROM product WHERE request_id = request AND row BETWEEN first AND last;
    DELETE FROM rejected_row WHERE request_id = request AND number BETWEEN first AND last;
    DELETE FROM image_group WHERE request_id = request AND number BETWEEN first AND last;
    DELETE FROM image WHERE request_id = request AND number BETWEEN first AND last;
$$;

-- The rows of a small request go with it; those of a large one are out of reach at once and erased later.
CREATE FUNCTION erase_with_request() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last integer := greatest(OLD.images, (SELECT max(row) FROM product WHERE request_id = OLD.id),
                             (SELECT max(number) FROM rejected_row WHERE request_id = OLD.id));
BEGIN
    IF last <= 1000 THEN
        PERFORM erase_rows(OLD.id, 1, last);
    ELSE
        INSERT INTO erasure (request_id, last_number) VALUES (OLD.id, last);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER request_is_erased AFTER DELETE ON processing_request FOR EACH ROW EXECUTE FUNCTION erase_with_request();
