"""The peer's task: fetch, compress, write to disk, one commit.

Tuned as its manuals say: prefork with two processes for each core, `acks_late`, a prefetch that keeps the processes
busy, no results, a pool of one connection for each process and one kept `requests.Session`, Pillow with kept blocks.
"""

import io
import os
from pathlib import Path
from typing import Any

import requests
from celery import Celery
from celery.signals import worker_process_init
from PIL import Image
from sqlalchemy import create_engine, update
from sqlalchemy.orm import Session

from tests.bench.peer.tables import Item

PREFETCH = 16
OUTPUT = Path(os.environ["PEER_OUTPUT"])
app = Celery("peer", broker=os.environ["PEER_BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_prefetch_multiplier=PREFETCH,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
engine = create_engine(os.environ["PEER_DATABASE"], pool_size=1, max_overflow=0)
http = requests.Session()
http.trust_env = False  # no search for proxies and passwords with each request


@worker_process_init.connect
def prepare(**_: Any) -> None:
    """A forked process must not use its parent's connections."""
    engine.dispose(close=False)
    Image.core.set_blocks_max(8)  # type: ignore[attr-defined]


@app.task(name="peer.compress")  # fleet.py sends it
def compress(item: int, url: str) -> None:
    answer = http.get(url, timeout=30)
    answer.raise_for_status()
    out = io.BytesIO()
    with Image.open(io.BytesIO(answer.content)) as picture:
        picture.save(out, "JPEG", quality=50)
    path = OUTPUT / f"{item}.jpg"
    path.write_bytes(out.getvalue())
    done = {
        "state": "completed",
        "source_bytes": len(answer.content),
        "output_bytes": out.tell(),
        "output": path.name,
    }
    with Session(engine) as session:
        session.execute(update(Item).where(Item.id == item).values(**done))
        session.commit()
