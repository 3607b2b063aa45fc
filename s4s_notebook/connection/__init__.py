"""One participant at one data holder: sign-in, searches into the store, downloads, frames."""

from .connection import Connection
from .loading import Loading
from .options import ConnectOptions

__all__ = ["ConnectOptions", "Connection", "Loading"]
