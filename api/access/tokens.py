"""Tokens: `mantlet_ID_SECRET`, of which the store has the id and a hash of the secret.

The secret is 256 random bits, so nobody finds it by trying, whatever the hash costs: a slow, memory-hard one (which guards short
passwords) would only let strangers make this machine work. The hash is BLAKE2b-256 (RFC 7693), salted with the id and personalised.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import Final

from api.documents import Scope, Token, from_json, now, token_key
from api.store.model import Store

TOKEN: Final = re.compile(r"mantlet_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_HASH: Final = "blake2b-256:"
_NOBODY: Final = "0" * 16
"""Whose secret is checked in vain where there is no such id, so that it takes the same work."""


def new_token(tenant: str, scope: Scope, *, name: str = "", expires: str | None = None) -> tuple[Token, str]:
    """A token, and the text that its bearer is given; it is nowhere else."""
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return Token(token_id, tenant, scope, hash_of(token_id, secret), now(), name, expires), f"mantlet_{token_id}_{secret}"


def hash_of(token_id: str, secret: str) -> str:
    return _HASH + hashlib.blake2b(secret.encode(), digest_size=32, salt=token_id.encode(), person=b"mantlet.token").hexdigest()


def parts_of(presented: str) -> tuple[str, str]:
    """Id and secret of what is presented as a token; of nobody where it is none."""
    found = TOKEN.fullmatch(presented)
    return (found[1], found[2]) if found else (_NOBODY, "")


def verified(store: Store, presented: str, at: datetime | None = None) -> Token | None:
    """The token, if it counts now. Reads the store each time, so that a token that was revoked anywhere counts nowhere from then on.

    Raises StoreError."""
    token_id, secret = parts_of(presented)
    entry = store.get(token_key(token_id))
    token = from_json(Token, entry.value) if entry else None
    right = hmac.compare_digest(hash_of(token_id, secret), token.hash if token else hash_of(_NOBODY, ""))
    return token if token and right and counts(token, at or datetime.now(UTC)) else None


def counts(token: Token, at: datetime) -> bool:
    """Whether the token is neither revoked nor expired."""
    return token.revoked is None and (token.expires is None or at < datetime.fromisoformat(token.expires))
