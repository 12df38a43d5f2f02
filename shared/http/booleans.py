"""Yes and no as people write them in a query or a form field."""

WORDS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def parse_boolean(text: str) -> bool:
    """Raises ValueError for any other word, the empty one too: a bare `?validate_only` does not mean no."""
    word = text.strip().lower()
    if word not in WORDS:
        raise ValueError(f"must be one of {', '.join(WORDS)}")
    return WORDS[word]
