"""A finished request of 100,000 images, written with SQL: its pictures are few files under many names."""

from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

import psycopg

from shared.blobs import connect, output_key
from shared.ids import uuid7
from shared.lifecycle import IMAGES_PER_GROUP
from tests.pictures import encode, photo
from tests.stack import Stack

IMAGES = 100_000
FILES = 200  # more than a page shows, so that no picture is the one that was decoded before
FAILED_EVERY, KEPT_EVERY = 50, 10
WIDTH, HEIGHT = 1600, 1200

REQUEST = """
INSERT INTO processing_request (id, account_id, status, products, images, completed, failed, source_bytes,
                                rendition_bytes, dispatch_at, started_at, finished_at, deadline_at)
SELECT %(id)s, (SELECT id FROM account WHERE name = 'default'), 'completed', %(images)s / 2, count(*),
       count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE state = 'failed'), sum(source_bytes),
       sum(rendition_bytes), NULL, now() - interval '5 min', now(), now() + interval '1 day'
FROM image WHERE request_id = %(id)s
"""
PRODUCTS = """
INSERT INTO product (request_id, row, serial_number, name, images)
SELECT %(id)s, n, n::text, 'Product ' || n, ARRAY[2 * n - 1, 2 * n] FROM generate_series(1, %(images)s / 2) AS n
"""
IMAGE_ROWS = """
INSERT INTO image (request_id, number, url, state, attempts, settled_at, fetch_ms, error_code, error_detail,
                   source_bytes, source_format, source_width, source_height, source_sha256,
                   rendition_bytes, rendition_format, rendition_width, rendition_height, rendition_sha256,
                   rendition_quality, kept_original)
SELECT %(id)s, n, 'https://host' || n %% 40 || '.example/pictures/' || n || '.jpg', 'completed', 1,
       now() - make_interval(secs => 300 - 300.0 * n / %(images)s), 20 + n %% 300, NULL, NULL,
       200000 + n, 'jpeg', %(width)s, %(height)s, files[1 + n %% cardinality(files)],
       CASE WHEN n %% %(kept)s = 0 THEN 200000 + n ELSE 100000 END, 'jpeg', %(width)s, %(height)s,
       files[1 + n %% cardinality(files)], 50, n %% %(kept)s = 0
FROM generate_series(1, %(images)s) AS n, (SELECT %(files)s::text[] AS files) AS named WHERE n %% %(every)s <> 0
UNION ALL
SELECT %(id)s, n, 'https://host' || n %% 40 || '.example/pictures/' || n || '.jpg', 'failed', 5,
       now() - make_interval(secs => 300 - 300.0 * n / %(images)s), 900, 'http_status', 'The host answered 404.',
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM generate_series(%(every)s, %(images)s, %(every)s) AS n
"""
GROUPS = """
INSERT INTO image_group (request_id, number, state, images, completed, failed)
SELECT request_id, (number - 1) / %(size)s + 1, 'settled', count(*), count(*) FILTER (WHERE state = 'completed'),
       count(*) FILTER (WHERE state = 'failed')
FROM image WHERE request_id = %(id)s GROUP BY 1, 2
"""


def add_large(stack: Stack) -> UUID:
    """Write the request and its pictures; its id."""
    request_id = uuid7()
    files = [sha256(f"{request_id} {number}".encode()).hexdigest() for number in range(FILES)]
    _write_pictures(stack, request_id, files)
    values = {"id": request_id, "images": IMAGES, "files": files, "width": WIDTH}
    values |= {"height": HEIGHT, "every": FAILED_EVERY, "kept": KEPT_EVERY, "size": IMAGES_PER_GROUP}
    with psycopg.connect(stack.database_url) as connection:
        for statement in (PRODUCTS, IMAGE_ROWS, GROUPS, REQUEST):
            connection.execute(statement, values)
    return request_id


def _write_pictures(stack: Stack, request_id: UUID, names: Iterable[str]) -> None:
    picture = encode(photo(WIDTH, HEIGHT, seed=1), "jpeg", quality=50)
    blobs = connect((stack.data_dir / "blobs").as_uri())
    for name in names:
        blobs.put(output_key(request_id, name, "jpg"), picture, durable=False)
