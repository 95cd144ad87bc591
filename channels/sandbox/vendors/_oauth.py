"""The token endpoint of a platform: a refresh token for an access token (RFC 6749 §6)."""

import itertools
from collections.abc import Mapping

from aiohttp import web


class TokenService:
    """Tokens are known as long as the sandbox runs; ``expire`` makes every one given so far invalid."""

    def __init__(self, expected: Mapping[str, str], seconds: int, scope: str = "") -> None:
        self.expected, self.seconds, self.scope = dict(expected), seconds, scope
        self._ids = itertools.count(1)
        self._valid: set[str] = set()
        self.given = 0

    async def handle(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if form.get("grant_type") != "refresh_token":
            return self._refused("unsupported_grant_type")
        for name, wanted in self.expected.items():
            if form.get(name) != wanted:
                return self._refused("invalid_grant" if name == "refresh_token" else "invalid_client")
        token = f"at-{next(self._ids):06d}"
        self._valid.add(token)
        self.given += 1
        told = {
            "access_token": token,
            "expires_in": self.seconds,
            "token_type": "Bearer",
            "scope": self.scope,
        }
        return web.json_response(told)

    def _refused(self, code: str) -> web.Response:
        return web.json_response({"error": code, "error_description": "Bad Request"}, status=400)

    def knows(self, token: str) -> bool:
        return token in self._valid

    def expire(self) -> None:
        self._valid.clear()
