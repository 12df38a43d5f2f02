import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from deploy.demo.checks import Seen
from deploy.demo.report import print_next_steps


def test_the_demo_ends_with_the_address_of_its_request_s_page(seen: Seen) -> None:
    links = {"self": "http://gateway/v1/requests/r-1", "outputs_zip": "http://gateway/v1/requests/r-1/outputs.zip"}
    shown = replace(seen, request={**seen.request, "links": links})
    written = io.StringIO()
    print_next_steps(Console(file=written), "http://127.0.0.1:8123", shown, Path("demo-output"))
    assert written.getvalue().splitlines()[-1].endswith(" http://127.0.0.1:8123/#/requests/r-1")
    assert "halftone submit products.csv --wait --url http://127.0.0.1:8123" in written.getvalue()
