"""Yes and no as people write them in a query or a form."""

WORDS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def parse_boolean(text: str) -> bool:
    """What the text means. Raises ValueError, also for an empty one: a bare `?validate_only` was not meant as no."""
    word = text.strip().lower()
    if word not in WORDS:
        raise ValueError(f"must be one of {', '.join(WORDS)}")
    return WORDS[word]
