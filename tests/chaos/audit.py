"""Triggers in the database under test that record, at each commit, states that must never occur.

They write to `chaos_breach` and refuse nothing, so the product behaves as it would without them.
"""

from collections.abc import Sequence
from typing import Any

import psycopg

from tests.chaos.invariants import rows_of

INSTALL = """
CREATE TABLE chaos_breach (at timestamptz DEFAULT clock_timestamp(), request_id uuid, what text);

CREATE FUNCTION chaos_request_ended() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_breach (request_id, what)
    SELECT NEW.id, 'terminal with ' || count(*) || ' images pending' FROM image
    WHERE request_id = NEW.id AND state = 'pending' HAVING count(*) > 0;
    INSERT INTO chaos_breach (request_id, what)
    SELECT NEW.id, 'terminal, and run ' || NEW.run || ' has no event'
    WHERE NOT EXISTS (SELECT 1 FROM event WHERE request_id = NEW.id AND run = NEW.run);
    RETURN NULL;
END $$;

CREATE FUNCTION chaos_event_made() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_breach (request_id, what)
    SELECT NEW.request_id, 'an event while the request is ' || status FROM processing_request
    WHERE id = NEW.request_id AND finished_at IS NULL;
    RETURN NULL;
END $$;

CREATE FUNCTION chaos_image_moved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_breach (request_id, what)
    VALUES (NEW.request_id, format('image %s: %s to %s, run %s to %s, attempts %s to %s', NEW.number,
                                   OLD.state, NEW.state, OLD.run, NEW.run, OLD.attempts, NEW.attempts));
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER chaos_request_ended AFTER UPDATE ON processing_request
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION chaos_request_ended();

CREATE CONSTRAINT TRIGGER chaos_event_made AFTER INSERT ON event
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chaos_event_made();

CREATE TRIGGER chaos_image_moved AFTER UPDATE ON image FOR EACH ROW
    WHEN (NEW.run < OLD.run OR NEW.attempts > 5 OR NEW.attempts < 0
          OR OLD.state <> 'pending' AND NEW.state <> OLD.state AND NEW.run = OLD.run
          OR OLD.state = 'completed' AND NEW.rendition_sha256 IS DISTINCT FROM OLD.rendition_sha256)
    EXECUTE FUNCTION chaos_image_moved();
"""


def install(connection: psycopg.Connection[Any]) -> None:
    """Once in a database. The connection commits by itself."""
    connection.execute(INSTALL)


def breaches(connection: psycopg.Connection[Any], ids: Sequence[str]) -> list[str]:
    """The breaches of these requests."""
    rows = rows_of(connection, "SELECT * FROM chaos_breach WHERE request_id = ANY(%s::uuid[]) ORDER BY at", list(ids))
    return [f"{row['at']:%H:%M:%S} request {row['request_id']} {row['what']}" for row in rows]
