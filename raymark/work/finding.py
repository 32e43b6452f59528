"""What was found of a machine that is to compute."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a report.

    Attributes:
        subject: What was looked at.
        text: What was found, and the next step where something is wrong.
        is_good: False if datasets cannot be made there because of it.
    """

    subject: str
    text: str
    is_good: bool = True
