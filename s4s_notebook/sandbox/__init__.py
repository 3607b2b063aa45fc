"""A data holder of our own: SMART, FHIR STU3 and WADO-RS, on made-up people or a PACS."""

from .robot import approve
from .sandbox import SandboxServer
from .script import Rule
from .settings import Pacs
from .state import Record

__all__ = ["Pacs", "Record", "Rule", "SandboxServer", "approve"]
