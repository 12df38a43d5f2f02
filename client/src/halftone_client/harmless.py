"""Text of others (the service, image hosts, a CSV) as a terminal may show it. Pure."""

import re

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What controls a terminal, begins a line, or turns the direction of the text around it."""


def harmless(text: str) -> str:
    r"""`text` with such characters as escapes: `\x1b`."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def harmless_json(document: str) -> str:
    r"""JSON that means the same, with `\u009b` for what `json.dumps` leaves as it is; its own line ends stay."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}" if found[0] > " " else found[0], document)


def in_place(line: str) -> str:
    """`line` with one column for each of them, so that what stands below it fits."""
    return UNSAFE.sub(lambda found: " " if found[0] < " " else "\ufffd", line)
