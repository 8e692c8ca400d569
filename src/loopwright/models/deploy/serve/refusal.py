"""Why a request is not answered, in the form of OpenAI's errors."""

from __future__ import annotations

from typing import Any

from loopwright.core.errors import UsageError


class Refused(UsageError):
    """A request that gets an error instead of an answer."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        field: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """State what is wrong.

        Args:
            message: What happened, what was expected.
            status: HTTP status, 400 or above.
            code: What programs may compare (``"model_not_found"``).
            field: The field of the request that is at fault.
            retry_after_s: When to ask again.
        """
        super().__init__(message)
        self.status, self.code, self.field = status, code, field
        self.retry_after_s = retry_after_s

    def to_json(self) -> dict[str, Any]:
        """Return the body of the answer."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {"message": str(self), "type": kind, "param": self.field, "code": self.code}
        }

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the answer."""
        found = {}
        if self.retry_after_s is not None:
            found["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        return found
