"""API keys: none, no answer; and how an operator makes the first."""

from http import HTTPStatus

from tests.api import Client, Refused
from tests.compose.compose import BASE_URL, Compose
from tests.compose.engine import Failed


def check_a_key_is_needed(compose: Compose) -> None:
    """A call without one is refused."""
    try:
        Client(BASE_URL).account()
    except Refused as refused:
        if refused.status != HTTPStatus.UNAUTHORIZED:
            raise
    else:
        raise Failed("a call without a key was answered")


def new_key(compose: Compose, account: str = "shop", *options: str) -> str:
    """An API key, made as docker-compose.yml says."""
    return compose("run", "--rm", "-T", "keys", "create", account, *options, capture=True).strip()
