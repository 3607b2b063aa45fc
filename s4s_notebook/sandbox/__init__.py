"""A data holder for practice and tests: SMART, FHIR STU3 and WADO-RS on one machine."""

from .approve import approve
from .context import Record
from .faults import Rule
from .server import SandboxServer
from .settings import Pacs

__all__ = ["Pacs", "Record", "Rule", "SandboxServer", "approve"]
