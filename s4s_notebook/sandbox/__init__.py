"""A data holder of our own: SMART, FHIR STU3 and WADO-RS, on made-up people or a PACS."""

from s4s_notebook.sandbox.robot import approve
from s4s_notebook.sandbox.sandbox import Sandbox
from s4s_notebook.sandbox.script import Rule
from s4s_notebook.sandbox.serving import serve
from s4s_notebook.sandbox.settings import Pacs
from s4s_notebook.sandbox.state import Record

__all__ = ["Pacs", "Record", "Rule", "Sandbox", "approve", "serve"]
