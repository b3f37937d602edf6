"""How messages to web servers are signed."""

from __future__ import annotations

import hashlib
import hmac


def sign(secret: bytes, body: bytes, time_s: int) -> dict[str, str]:
    """HMAC-SHA256 over ``time.body``, so that a receiver can refuse what is old or not ours."""
    if not secret:
        return {}
    digest = hmac.new(secret, str(time_s).encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Tickwork-Time": str(time_s), "X-Tickwork-Signature": f"sha256={digest}"}
