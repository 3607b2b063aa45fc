"""The linker: what it joins, what it refuses, and the size of what a panel delivers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from s4s_notebook.widgets.browse import Lists
from s4s_notebook.widgets.bundle import LinkError, link, tokenize
from s4s_notebook.widgets.connect import ConnectPanel, OriginQuestion
from s4s_notebook.widgets.connect.choose import ChooserPanel
from s4s_notebook.widgets.progress import ProgressPanel
from s4s_notebook.widgets.viewer import Viewer

LIMIT = 150_000  # bytes of a panel's script and style sheet
PANELS = [Viewer, Lists, ConnectPanel, ChooserPanel, OriginQuestion, ProgressPanel]
HERE = Path(__file__).parent

FILES = {
    "entry.js": r"""// import { a } from "./none.js"; `
import start, { first as one, total } from "./parts/numbers.js";
import * as space from "./parts/numbers.js";
import { again, renamedList as listed } from "./parts/more.js"
import
  Shape
from './parts/shape.js';
import "./parts/counter.js"; import counter from "./parts/counter.js";

/* export const no = 1; */
const own = "entry";
const slashes = "https://a.example // no comment";
const stars = `
* one
  * two // three
/* four */
`;
const words = 'import { x } from "./none.js"; export default 1;';
const nested = `a ${"`import`"} ${`{${"b"}}`} c`;
const pattern = ["export default".match(/export ['"`]?default/)[0], "x/`".match(/[/]`/)[0]];
let half = 8; half++; const other = { import: 2, export: 1 };
half = (half - 1) / other.import / 2; const text = "` / ";
let afterCondition = false;
if (text) /` \//.test(text) && (afterCondition = true);
afterCondition ||= /^` \/ $/.test(text);

export default { slashes, stars, words, nested, pattern, half, afterCondition, renamed: one + total,
  listed, space, fallback: start, Shape, again, counter, own };
""",
    "parts/numbers.js": """
export const first = 1, second = [1, 2].length;
export let total = first + second - 1;
const own = "numbers";
export default () => own && "default";
""",
    "parts/more.js": """
export { first as again } from "./numbers.js";
const list = "listed";
export { list as renamedList };
""",
    "parts/shape.js": "export default class Shape { sides = 4; }\n",
    "parts/counter.js": """
let count = 0;
export default { next: () => (count += 1) };
""",
}


@pytest.fixture
def write(tmp_path):
    def write_files(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.js").write_text(text)
        return tmp_path

    return write_files


def run_node(*arguments: str, **environment: str) -> bytes:
    command = [shutil.which("node") or "node", *arguments]
    result = subprocess.run(
        command, capture_output=True, timeout=120, env={**os.environ, **environment}
    )
    assert result.returncode == 0, (result.stdout[-4000:] + result.stderr[-4000:]).decode()
    return result.stdout


@pytest.mark.needs("node")
def test_joined_files_do_what_modules_do(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    joined = tmp_path / "joined.mjs"
    joined.write_text(link("entry.js", tmp_path))
    test = str(HERE / "bundle.test.mjs")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for address in (tmp_path / "entry.js", joined):  # the same, joined or not
        tap = run_node("--test", "--test-reporter=tap", test, JOINED=address.as_uri())
        assert b"# fail 0" in tap


def test_every_other_character_is_delivered():
    assert "A question for the holder" not in link("connect/ask.js")
    folder = Path(link.__globals__["FOLDER"])
    text = (folder / "viewer" / "geometry.js").read_text()
    assert text.replace("export ", "") in link("viewer/viewer.js")


def test_a_cycle_is_named(write):
    folder = write(a='import { b } from "./b.js"; export const a = 1;', b='import "./a.js";')
    with pytest.raises(LinkError, match=r"a\.js → b\.js → a\.js"):
        link("a.js", folder)


def test_a_missing_export_is_named(write):
    folder = write(a='import { c as d } from "./b.js";', b="export const b = 1;")
    with pytest.raises(LinkError, match=r"a\.js imports c from b\.js"):
        link("a.js", folder)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('\nimport x from "react";', r"a\.js, line 2, imports \"react\", which is no relative"),
        ('import x from "./none.js";', "not in this folder"),
        ('import x from "../secret.js";', "not in this folder"),
        ('export * from "./a.js";', "not supported"),
        ("export const { x } = y;", "exports a pattern"),
        ("export const x = 1; export { x };", "exports x twice"),
        ("export { x", "ends within"),
    ],
)
def test_what_cannot_be_joined_is_named(write, text, problem):
    with pytest.raises(LinkError, match=problem):
        link("a.js", write(a=text))


def test_slashes_are_division_or_begin_a_regular_expression():
    def kinds(text: str) -> list[str]:
        return [token.kind for token in tokenize(text)]

    assert "regex" not in kinds(
        "a / b / c; f(x) / 2 / y; a[0] / 2 / b; i++ / 2 / j; o.return / 1 / 2"
    )
    for text in ("x = /a/g", "return /[/]/", "if (a) /b/.test(c)", "{} /a/", "f(/a/)", "a => /b/"):
        assert kinds(text).count("regex") == 1, text
    assert kinds("`a ${b + `}` + {c: '}'}} d` + e") == ["template", "mark", "name"]


@pytest.mark.needs("node")
@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_is_one_module_below_the_limit(panel, tmp_path):
    assert len(panel._esm.encode()) + len(panel._css.encode()) < LIMIT
    joined = tmp_path / "panel.mjs"
    joined.write_text(panel._esm)
    run_node("--check", str(joined))
    script = f"import({str(joined)!r}).then((m) => console.log(typeof m.default.render))"
    assert run_node("-e", script).decode().strip() == "function"
