"""The conformance check: what the seed asks of a holder, asked for real."""

from .command import check, check_command
from .finding import Finding

__all__ = ["Finding", "check", "check_command"]
