"""A server on raw loopback sockets that can send everything a server must not, and what it saw."""

from .clock import FakeClock
from .server import Conversation, FaultServer, Seen, Sink

__all__ = ["Conversation", "FakeClock", "FaultServer", "Seen", "Sink"]
