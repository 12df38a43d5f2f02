"""How the codec's children come to be: forked from a small server that has imported Pillow and nothing of the worker.

The trap: multiprocessing tells every child the name of the parent's main module, and the child imports it; for the
worker that is a second, a database layer and a hundred megabytes. So the name is left out.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

_PRELOAD = ["services.worker.codec.nursery"]
_lock = threading.Lock()


class Child(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - the name that multiprocessing calls
        with _without_main():
            return ForkServerProcess._Popen(process_obj)  # noqa: SLF001


class _Context(ForkServerContext):
    Process = Child


def context() -> ForkServerContext:
    made = _Context()
    made.set_forkserver_preload(_PRELOAD)
    return made


@contextmanager
def _without_main() -> Iterator[None]:
    original = spawn.get_preparation_data

    def nameless(name: str) -> dict[str, Any]:
        data = original(name)
        return {key: value for key, value in data.items() if not key.startswith("init_main")}

    with _lock:
        spawn.get_preparation_data = nameless
        try:
            yield
        finally:
            spawn.get_preparation_data = original
