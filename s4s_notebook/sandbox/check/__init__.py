"""The conformance check: what the seed asks of a holder, asked for real."""

from s4s_notebook.sandbox.check.command import check, check_command
from s4s_notebook.sandbox.check.finding import Finding

__all__ = ["Finding", "check", "check_command"]
