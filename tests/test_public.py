"""The public face: its names, and how little `import s4s_notebook` loads."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields
from functools import cached_property

import pytest

import s4s_notebook

PUBLIC = [
    "Connection",
    "Download",
    "Ellipse",
    "Line",
    "Picture",
    "Polygon",
    "Rectangle",
    "S4SError",
    "Sandbox",
    "Store",
    "Study",
    "WaitPolicy",
    "__version__",
    "check",
    "connect",
    "doctor",
    "errors",
    "explore",
    "link",
    "read",
    "tables",
    "timeline",
    "traceback",
]
HEAVY = ["pandas", "numpy", "matplotlib", "pydicom", "ipywidgets", "httpx"]


def test_the_public_names_are_these():
    assert s4s_notebook.__all__ == PUBLIC
    assert dir(s4s_notebook) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_loads(name):
    first = getattr(s4s_notebook, name)
    # A module of the same name would take a function's place once it is imported.
    assert getattr(s4s_notebook, name) is first
    assert callable(first) == (name not in ("__version__", "errors", "tables"))


def test_every_error_can_be_caught_by_its_short_name():
    from s4s_notebook import errors

    own = [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.S4SError)
    ]
    assert len(own) > 20
    for error in own:
        assert getattr(s4s_notebook, error.__name__) is error
        assert error.__name__ in (errors.__doc__ or ""), f"{error.__name__} is not in the tree"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = s4s_notebook.conect


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, s4s_notebook; print([m for m in {HEAVY} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


NOTEBOOK_PACKAGES = ["IPython", "anywidget", "ipywidgets", "jupyterlab", "matplotlib"]
IMAGE_PACKAGES = ["PIL", "pydicom"]
#: Reads tables, then downloads, then runs `s4s sync`, while imports of the packages fail.
SCRIPT = f"""
import sys

blocked = {NOTEBOOK_PACKAGES + IMAGE_PACKAGES}
sys.modules.update(dict.fromkeys(blocked))
import s4s_notebook as s4s
from s4s_notebook.cli import main

url, imaging, root = sys.argv[1:]
with s4s.connect(url, patient="smart-1288992", store=root, allow_origins=[imaging]) as me:
    studies = me.studies()
    assert len(studies) == 7 and len(me.benefits()) > 0 and len(me.store.studies()) == 7
    for name in {IMAGE_PACKAGES}:
        del sys.modules[name]
    study = studies[studies["downloadable"].fillna(False)].iloc[0]
    assert me.download(study).result().paths
assert main(["sync", root]) == 0
print(sorted(name for name in blocked if sys.modules.get(name)))
"""


def test_tables_need_no_image_packages_and_scripts_no_notebook_packages(tmp_path):
    with s4s_notebook.Sandbox(retry_after=0) as sandbox:
        arguments = [sandbox.open_fhir_url, sandbox.wado_url, str(tmp_path / "store")]
        shown = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False
        )
    assert shown.returncode == 0, shown.stderr
    assert not set(NOTEBOOK_PACKAGES) & set(shown.stdout.splitlines()[-1].split("'"))


def test_a_connection_has_few_public_members(tmp_path):
    with (
        stored(tmp_path) as store,
        s4s_notebook.Connection("https://holder.example/fhir", patient="p", store=store) as me,
    ):
        members = [name for name in dir(me) if not name.startswith("_")]
    assert len(members) <= 30, members


def stored(root):
    """A store with the studies of one participant, so that a connection makes no request."""
    from s4s_notebook.store import Run

    store = s4s_notebook.Store(root)
    participant = store.participant("https://holder.example/fhir", "p")
    participant.finish("ImagingStudy", Run("1-a", None, None, None, True, 1), 1.0)
    return store


def test_the_options_of_a_connection_are_declared_once():
    from s4s_notebook.connection import ConnectOptions

    options = inspect.signature(s4s_notebook.connect).parameters
    assert list(options) == [field.name for field in fields(ConnectOptions)]
    for name in options:
        assert name in (s4s_notebook.connect.__doc__ or ""), f"{name} is not described"
    assert "canary" not in repr(ConnectOptions("u", access_token="canary", client_secret="canary"))
    with pytest.raises(TypeError, match="colour"):
        s4s_notebook.connect(colour="red")


def test_a_plot_of_ones_own_has_a_text_and_leaves_nothing_open():
    from matplotlib import pyplot

    picture = s4s_notebook.Picture(figsize=(2, 1))
    picture.subplots().plot([1, 2], [3, 4])
    picture.alt = 'Rises from 3 to 4 "<units>".'
    data, metadata = picture._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"] == picture.alt
    assert 'alt="Rises from 3 to 4 &quot;&lt;units&gt;&quot;."' in data["text/html"]
    assert pyplot.get_fignums() == []


def described(name, thing):
    """The docstring of a function, method or property; of a class its own, inherited by none."""
    thing = getattr(thing, "__func__", thing)
    if isinstance(thing, type):
        own = vars(thing).get("__doc__") or ""
        return "" if own.startswith(f"{name}(") else own  # a dataclass makes one of its fields
    return inspect.getdoc(thing) or ""


def reference():
    """What a reader of the reference looks up: name and docstring."""
    from s4s_notebook import errors, tables
    from s4s_notebook.connection import Loading
    from s4s_notebook.http.client import Exchange
    from s4s_notebook.imaging import Frame, Series, Window
    from s4s_notebook.sandbox import Pacs, Record, Rule
    from s4s_notebook.store import FileProblem, Participant, StoredInstance, StudyFolder

    returned = {Loading, Exchange, Frame, Series, Window, Pacs, Record, Rule}
    returned |= {FileProblem, Participant, StoredInstance, StudyFolder}
    returned |= {kind for name in PUBLIC if isinstance(kind := getattr(s4s_notebook, name), type)}

    found = {name: getattr(s4s_notebook, name) for name in PUBLIC}
    found |= {f"tables.{name}": getattr(tables, name) for name in tables.__all__}
    own = [error for error in vars(errors).values() if isinstance(error, type)]
    for kind in {*returned, *own}:
        found[kind.__name__] = kind
        for name in dir(kind):
            holder = next(each for each in kind.__mro__ if name in vars(each))
            if not name.startswith("_") and holder.__module__.startswith("s4s_notebook"):
                found[f"{kind.__name__}.{name}"] = vars(holder)[name]
    for name, thing in found.items():
        called = callable(getattr(thing, "__func__", thing))
        if called or isinstance(thing, property | cached_property):
            yield name, described(name, thing)


def test_every_public_name_and_all_that_it_gives_out_has_a_docstring():
    found = dict(reference())
    wanted = {"connect", "Connection.studies", "Study.plot", "tables.link", "Frame.rows"}
    assert wanted <= set(found)
    assert [name for name, text in found.items() if not text.strip()] == []


def test_a_missing_docstring_is_seen():
    class Bare(s4s_notebook.Sandbox):
        def method(self):
            pass

    assert described("Bare", Bare) == described("method", Bare.method) == ""
    assert described("x", property(Bare.method)) == described("x", classmethod(Bare.method)) == ""
    assert described("start", Bare.start)
