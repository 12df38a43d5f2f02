"""The default account signs with HALFTONE_WEBHOOK_SECRET; a new one there is a rotation.

A setting is taken over once: what was rotated away since, perhaps because it had leaked, does not come back at the next
start. Nor does one that the account had just before.
"""

import hashlib

from sqlalchemy import Connection, text

from shared.schemas.accounts import BOTH_SIGN, DEFAULT_ACCOUNT


def rotate_to(secret: str, connection: Connection) -> bool:
    """Sign with `secret` from now on, and for a day with the one before too; False if it is or was the account's."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    seen = connection.execute(
        text("""
            UPDATE account SET configured_digest = :digest
            WHERE id = :id AND configured_digest IS DISTINCT FROM :digest
        """),
        {"digest": digest, "id": DEFAULT_ACCOUNT},
    )
    if not seen.rowcount:
        return False
    changed = connection.execute(
        text("""
            UPDATE account SET signing_secret = :secret, previous_secret = signing_secret,
                               previous_secret_until = now() + :both_sign
            WHERE id = :id AND signing_secret <> :secret AND previous_secret IS DISTINCT FROM :secret
        """),
        {"secret": secret, "both_sign": BOTH_SIGN, "id": DEFAULT_ACCOUNT},
    )
    return changed.rowcount > 0
