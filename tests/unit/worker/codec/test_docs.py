"""The table of `docs/images.md` is what the codec does."""

from tests.unit.worker.codec.kinds import BEGIN, END, PAGE, table


def test_the_table_in_the_docs_is_what_the_codec_does() -> None:
    _, _, rest = PAGE.read_text().partition(BEGIN)
    written, _, _ = rest.partition(END)
    assert written == table(), "run: python -m tests.unit.worker.codec.kinds"
