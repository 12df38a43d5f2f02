from typing import Any

import pytest
from rich.progress import Progress

from halftone_client.cli.progress import Furthest, _Bar, _Figures
from halftone_client.cli.session import id_of

ID = "01a2012e-79c1-7690-b0f1-0d12b3c72e72"


def state(*, run: int = 1, pending: int) -> Any:
    return {"run": run, "images": {"total": 100, "pending": pending}}


def test_the_bar_never_goes_back_within_a_run() -> None:
    furthest = Furthest()
    shown = [furthest(state(pending=pending)) for pending in (100, 60, 80, 59, 100, 0)]
    assert shown == [0, 40, 40, 41, 41, 100]


def test_a_new_run_begins_where_it_is_and_an_old_one_is_ignored() -> None:
    furthest = Furthest()
    furthest(state(pending=0))
    assert furthest(state(run=2, pending=30)) == 70
    assert furthest(state(run=1, pending=0)) == 70


@pytest.mark.parametrize(("rate", "shown"), [(41.4, "41/s"), (0.25, "0.2/s"), (1234.0, "1,234/s"), (None, "")])
def test_the_rate_is_the_services_own(rate: float | None, shown: str) -> None:
    progress = Progress(disable=True)
    running = state(pending=40) | {"status": "processing", "eta_seconds": 5, "images_per_second": rate}
    running["images"]["failed"] = 2
    _Bar(progress)(running)
    rendered = _Figures("").render(progress.tasks[0]).plain
    assert rendered == "  ".join(filter(None, [" 60%", "60/100", shown, "5s left", "2 failed"]))


def test_a_service_that_tells_no_rate_is_followed_too() -> None:
    progress = Progress(disable=True)
    running = state(pending=100) | {"status": "pending", "eta_seconds": None}
    running["images"]["failed"] = 0
    _Bar(progress)(running)
    assert _Figures("").render(progress.tasks[0]).plain == "  0%  0/100"


def test_an_id_may_be_copied_as_any_of_its_addresses() -> None:
    for text in (ID, f" {ID}\n", f"http://a.example/#/requests/{ID}", f"http://a.example/v1/requests/{ID}/output.csv"):
        assert id_of(text) == ID
    assert id_of(f"http://a.example/#/requests/{ID}/images") == ID
