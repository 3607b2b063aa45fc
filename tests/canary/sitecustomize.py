"""Read by every Python that a test starts: marks the secrets that it makes (tests/conftest.py)."""

import secrets

_real_token = secrets.token_urlsafe


def _marked_token(nbytes: int | None = None) -> str:
    return "cAnArY" + _real_token(nbytes)


secrets.token_urlsafe = _marked_token
