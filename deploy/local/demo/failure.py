"""What ends the demo early: a sentence for a person, printed without a traceback."""


class DemoFailed(Exception):
    """The message says what happened and, where there is something to do, what."""
