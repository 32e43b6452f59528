"""How a value shows itself in a session: a line of text, or a small table in a notebook."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from html import escape


class Presented(ABC):
    """A value that says what it is in a few facts, and not in all that it holds."""

    __slots__ = ()

    @abstractmethod
    def facts(self) -> Mapping[str, str]:
        """Return what a reader wants to know first, by name."""

    def __repr__(self) -> str:
        """Return the facts in one line."""
        facts = "; ".join(f"{name} {text}" for name, text in self.facts().items())
        return f"<{type(self).__name__}: {facts}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return the facts as a table; notebooks ask for it by this name."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in self.facts().items()
        )
        return f"<table><caption>{escape(type(self).__name__)}</caption>{rows}</table>"
