import pytest

from s4s_notebook.connection import Connection
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.store import Store

from .holder import Holder


@pytest.fixture
def holder():
    with Holder() as holder:
        yield holder


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def connect(holder, store):
    """Makes connections to the holder that wait as little as it asks for."""
    made = []

    def connect(**options):
        options = {"patient": "p1", "store": store, "waits": quick()} | options
        made.append(Connection(options.pop("url", holder.fhir), **options))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def quick(**options):
    return WaitPolicy(**{"floor": 0.01, "first": 0.01, "jitter": 0.0, "tries": 2} | options)
