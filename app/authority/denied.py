"""A request that goes no further."""

__all__ = ["Denied"]


class Denied(Exception):
    """Blueprints may have a handler of their own for it. `retry_after` is in seconds."""

    def __init__(self, status: int, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after
