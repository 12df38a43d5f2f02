import io

import pytest

from halftone_client.idempotency import key_of
from halftone_client.shapes import Options

CONTENT = b"S. No.,Product Name,Input Image Urls\n"


def test_equal_uploads_have_equal_keys_in_every_process() -> None:
    """Written down: a key that changes makes a second request of every upload that an update interrupts."""
    file = io.BytesIO(CONTENT)
    file.read()
    key = key_of(file, Options(quality=50, webhook_url="https://a.example"))
    assert key == key_of(io.BytesIO(CONTENT), Options(webhook_url="https://a.example", quality=50))
    assert key == "sha256-ab8823d714caa8d90b8d47c9eeeafb0540a139b051c1b7657ed0782ec2ecc8e2"
    assert len(key) < 255


@pytest.mark.parametrize(
    "options", [Options(quality=51), Options(webhook_url="https://b.example"), Options(on_invalid="skip")]
)
def test_other_options_are_another_upload(options: Options) -> None:
    assert key_of(io.BytesIO(CONTENT), options) != key_of(io.BytesIO(CONTENT), Options())


def test_another_file_is_another_upload() -> None:
    assert key_of(io.BytesIO(CONTENT + b"\n"), Options()) != key_of(io.BytesIO(CONTENT), Options())
