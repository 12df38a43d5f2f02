import threading
from pathlib import Path

from deploy.local.data_dir import DataDir


def test_a_query_of_the_lock_does_not_keep_a_stack_from_starting(tmp_path: Path) -> None:
    asking, starting = DataDir(tmp_path), DataDir(tmp_path)
    assert asking.hold()
    threading.Timer(0.1, asking.release).start()
    assert starting.hold()
    assert asking.held_by_other()
    starting.release()
    assert not asking.held_by_other()
