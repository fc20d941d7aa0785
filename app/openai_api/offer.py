"""What answers here, as the API offers it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from actors.session.agent import AgentError

from .errors import ApiError

__all__ = ["Offer"]


@dataclass(frozen=True, slots=True)
class Offer:
    """`models` lists those that the provider has; without it there is only the one that answers,
    `model`. `options` are the parameters that it honours.
    """

    model: str
    options: frozenset[str] = frozenset()
    models: Callable[[], Awaitable[Sequence[str]]] | None = None

    async def names(self) -> Sequence[str]:
        """Raises `ApiError` if the provider does not tell."""
        if self.models is None:
            return [self.model]
        try:
            return await self.models()
        except AgentError as error:
            raise ApiError(502, error.message, None, error.type) from error

    def check(self, model: str | None) -> None:
        """Raises `ApiError` for a model that nothing here is. A provider judges for itself."""
        if model is not None and self.models is None and model != self.model:
            message = f"The model '{model}' does not exist here; '{self.model}' answers."
            raise ApiError(404, message, "model", "model_not_found")
