"""A whole journey with a secret in every place where a client may put one, and then the logs of all processes."""

import re

import httpx
import psycopg

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import Client
from tests.e2e.conftest import new_key
from tests.origin import Origin
from tests.stack import Stack, until

PLANTED = "planted-51e0"
"""Part of each secret."""
KEY = {"Authorization": f"Bearer ht_0a1b_{PLANTED}-key", "Cookie": f"session={PLANTED}-cookie"}


def test_no_log_holds_a_secret_of_a_client_or_of_ours(
    stack: Stack, api: Client, http: httpx.Client, origin: Origin
) -> None:
    stack.log()  # a stack without logs, as one that is given, skips this: it may require keys, and these are planted
    good = origin.add("/shoe.jpg", draw("shoe.jpg", (160, 120)))
    missing, away = f"{good[: good.rindex('/')]}/missing.jpg", f"http://{stack.hosts[1]}/away.jpg"
    text = origin.add("/text.jpg", b"no picture")
    urls = [f"{url}?X-Amz-Signature={PLANTED}-signature" for url in (good, missing, away, text)]
    hook = f"http://{stack.hosts[0]}/hook?token={PLANTED}-token"
    body = manifest([("1", "Shoe", urls)])
    form = {"webhook_url": hook}

    accepted = http.post("/v1/requests", files={"file": ("a.csv", body)}, data=form, headers=KEY)
    request_id = accepted.json()["request_id"]
    path = f"/v1/requests/{request_id}"
    by_query = http.post("/v1/requests", content=b"hello", params=form, headers=KEY | {"Content-Type": "text/csv"})
    assert by_query.status_code == 422
    user = manifest([("1", "Shoe", [f"http://user:{PLANTED}-password@shop.example/a.jpg"])])
    assert http.post("/upload", content=user, headers=KEY | {"Content-Type": "text/csv"}).status_code == 400
    for wrong in (f"{path}/images?page_token={PLANTED}-page", f"/v1/requests?key={PLANTED}-query", "/v1/none"):
        http.get(wrong, headers=KEY)
    http.post("/upload", content=user, headers=KEY | {"Origin": f"https://{PLANTED}.example"})
    http.get("/v1/requests", headers=KEY | {"Host": f"{PLANTED}.example"})
    until(lambda: http.get(path).json()["images"]["completed"] == 1, within=60)
    http.post(f"{path}/cancel", headers=KEY)
    until(lambda: http.get(f"{path}/deliveries").json()["items"], within=30)
    until(lambda: http.get(f"{path}/deliveries").json()["items"][0]["attempts"], within=30)

    with psycopg.connect(stack.database_url) as connection:
        secrets = [row[0] for row in connection.execute("SELECT signing_secret FROM account")]
    log = stack.log()
    assert request_id in log
    assert secrets
    for secret in (PLANTED, *secrets, *(one.removeprefix("whsec_") for one in secrets)):
        assert [line for line in log.splitlines() if secret in line] == []
    assert not re.search(r"postgresql://[^*\s]+:[^*\s]+@", log)


def test_no_log_holds_one_where_keys_are_required_and_all_is_logged(closed: Stack) -> None:
    key, revoked = new_key(closed, "shop", "read,write,admin"), new_key(closed, "shop")
    assert closed.command("keys", "revoke", revoked).returncode == 0
    before = _signing_secret(closed)
    headers = {"Authorization": f"Bearer {key}"}
    with (
        Origin(port=closed.host_ports[0]) as origin,
        httpx.Client(base_url=closed.base_url, headers=headers, timeout=30) as http,
    ):
        url = origin.add("/shoe.jpg", draw("shoe.jpg", (160, 120)))
        body = manifest([("1", "Shoe", [f"{url}?X-Amz-Signature={PLANTED}-signature"])])

        def journey(hook: str) -> str:
            form = {"webhook_url": f"http://{hook}?token={PLANTED}-token"}
            made = http.post("/v1/requests", files={"file": ("a.csv", body)}, data=form)
            path: str = made.headers["location"]
            until(lambda: http.get(path).json()["status"] == "completed", within=60)
            [delivery] = until(lambda: http.get(f"{path}/deliveries").json()["items"], within=30)
            until(lambda: http.get(f"{path}/deliveries").json()["items"][0]["attempts"], within=30)
            assert http.post(f"/v1/deliveries/{delivery['id']}/redeliver").status_code == 202
            return path.rpartition("/")[2]

        failing = journey(f"{closed.hosts[1]}/away")
        after: str = http.post("/v1/account/signing-secret/rotate").json()["signing_secret"]
        journey(f"{closed.hosts[0]}/hook")
        until(lambda: origin.posts("/hook"))
        made = http.post("/v1/keys", json={}).json()["key"]
        for text in (revoked, f"{key[:-1]}-", f"{made[:-1]}{'a' if made[-1] != 'a' else 'b'}"):
            wrong = {"Authorization": f"Bearer {text}"}
            until(lambda wrong=wrong: http.get("/v1/requests", headers=wrong).status_code == 401)  # type: ignore[misc]
        assert http.post(f"/v1/keys/{made.split('_')[1]}/rotate", json={}).status_code == 201

    log = closed.log()
    assert failing in log
    assert "[debug" in log
    keys = [text.rpartition("_")[2] for text in (key, revoked, made)]
    signing = [secret.removeprefix("whsec_") for secret in (before, after)]
    assert before != after
    for secret in (PLANTED, *keys, *signing, *_passwords(closed)):
        assert [line for line in log.splitlines() if secret in line] == []


def _signing_secret(stack: Stack) -> str:
    with psycopg.connect(stack.database_url) as connection:
        found = connection.execute("SELECT signing_secret FROM account WHERE name = 'shop'").fetchone()
    assert found is not None
    return str(found[0])


def _passwords(stack: Stack) -> set[str]:
    """Of each service at PostgreSQL and at Valkey, and of the operator."""
    found = {path.read_text().strip() for path in stack.data_dir.glob("*.secret")}
    assert len(found) >= 8
    return found
