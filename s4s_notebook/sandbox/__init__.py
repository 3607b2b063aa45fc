"""A data holder of our own: SMART, FHIR STU3 and WADO-RS, on made-up people or a PACS."""

from .approve import approve
from .context import Record
from .faults import Rule
from .server import SandboxServer
from .settings import Pacs

__all__ = ["Pacs", "Record", "Rule", "SandboxServer", "approve"]
