"""Secrets in users' URLs stay out of the log, in our own lines and those of libraries."""

import json
import logging
import subprocess
import sys

import pytest

from shared import log
from shared.log import redact
from tests.logs import logging_as
from tests.stack import ROOT

PRESIGNED = "https://cdn.example/a.jpg?X-Amz-Signature=5eC_rE-t'&X-Amz-Date=1"


def test_logging_does_not_bring_rich_but_leaves_it_to_others() -> None:
    script = "import sys, shared.log; assert 'rich' not in sys.modules; import rich.console"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (PRESIGNED, "https://cdn.example/a.jpg?***"),
        (f"({PRESIGNED}\n{PRESIGNED})", "(https://cdn.example/a.jpg?***\nhttps://cdn.example/a.jpg?***"),
        ("HTTP://h/?a=https://i/?b", "HTTP://h/?***"),
        ("postgresql://halftone:pa:ss@db:5432/x, redis://:pw@r/0", "postgresql://***@db:5432/x, redis://***@r/0"),
        ("redis://:p@ss@r/0 and https://a@b.example/c@d", "redis://***@r/0 and https://***@b.example/c@d"),
        ("the secret whsec_c2VjcmV0/+= of ht_01ab_c2Vj-_cmV0", "the secret whsec_*** of ht_01ab_***"),
        ("https://halftone.example/v1/requests what? a@b", "https://halftone.example/v1/requests what? a@b"),
    ],
)
def test_queries_user_info_and_our_own_secrets_are_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted


def test_a_line_full_of_urls_is_read_once() -> None:
    """To its square, this one would take minutes."""
    assert redact("http://" * 100_000 + "?a") == "http://" * 100_000 + "?***"


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_line_has_no_query_wherever_the_url_came_from(style: str) -> None:
    with logging_as(style) as log_text:
        _log_it_everywhere()
    written = log_text.getvalue()
    assert "5eC_rE" not in written
    assert written.count("https://cdn.example/a.jpg?***") == 7
    if style == "json":
        assert [json.loads(line)["event"][:4] for line in written.splitlines()] == ["as_a", "as a", "as_a"]


def _log_it_everywhere() -> None:
    logger = log.get_logger("test")
    logger.warning("as_a_value", url=PRESIGNED, urls=[PRESIGNED], nested={"url": PRESIGNED})
    logging.getLogger("library").error("as an argument: %s, %r", PRESIGNED, {"url": PRESIGNED})
    try:
        raise ValueError(f"in an exception: {PRESIGNED!r}")
    except ValueError:
        logger.exception("as_a_traceback", quoted=f'"{PRESIGNED}"')


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\r\x9b1m\u2028\u202e\n2026-01-01T00:00:00Z [info     ] all_is_well"


@pytest.mark.parametrize("style", ["text", "json"])
def test_quoted_text_neither_controls_the_terminal_nor_passes_for_a_line(style: str) -> None:
    with logging_as(style) as log_text:
        logger = log.get_logger("test")
        logger.info("as_a_value", path=HOSTILE, short="\x1b[2J")
        logging.getLogger("library").error("as an argument: %s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logger.exception("as_a_traceback")
    written = log_text.getvalue()
    assert not {character for character in written if not character.isprintable()} - {"\n"}
    assert len([line for line in written.splitlines() if not line.startswith(" ")]) == 3
    assert written.count("all_is_well") >= 3
