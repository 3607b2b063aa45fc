"""The linker that joins a panel's ES modules, and the style sheets beside them.

A widget reaches the browser as one ES module. Each file becomes a function scope of its own,
in the order of its imports, and hands out what it exports. Only import and export statements
at the top level of a file are rewritten; every other character is delivered as it is written.

Imported bindings are the values at the end of the exporting module's evaluation.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<name>[\w$#\u0080-\uffff][\w$\u0080-\uffff]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
# After these words an expression begins, so that "/" opens a regular expression.
_BEFORE_EXPRESSION = frozenset({"await", "case", "delete", "do", "else", "in", "instanceof"})
_BEFORE_EXPRESSION |= {"new", "of", "return", "throw", "typeof", "void", "yield"}
_BEFORE_CONDITION = frozenset({"if", "while", "for", "with"})
_DECLARATIONS = frozenset({"const", "let", "var", "function", "class", "async"})


class LinkError(Exception):
    """Modules that cannot be joined: the message names the file."""


class Token(NamedTuple):
    """A piece of a script: ``kind`` is name, string, template, regex, mark or end."""

    kind: str
    text: str
    start: int
    end: int
    depth: int


@dataclass
class Module:
    """A file's rewritten text, with what it imports and exports.

    Attributes:
        imports: For each import statement its file and ``(exported name, local name)`` pairs,
            where ``*`` stands for the complete namespace.
        exports: Exported name to local name or expression.
    """

    path: Path
    text: str = ""
    imports: list[tuple[Path, list[tuple[str, str]]]] = field(default_factory=list)
    exports: dict[str, str] = field(default_factory=dict)


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a script, without white space and comments."""
    return _tokens(text, 0, is_substitution=False)[0]


def _tokens(text: str, start: int, *, is_substitution: bool) -> tuple[list[Token], int]:
    """Return tokens from ``start`` to the end, or to the ``}`` that closes a substitution."""
    tokens: list[Token] = []
    openers: list[Token | None] = []  # for each open bracket, the token before it
    before_bracket: Token | None = None  # that token, for the bracket that closed last
    position = start
    while position < len(text):
        kind, end = _next(text, position, tokens, before_bracket)
        content = text[position:end]
        if is_substitution and content == "}" and not openers:
            return tokens, end
        if kind == "mark" and content in ")]}" and openers:
            before_bracket = openers.pop()
        if kind != "space":
            tokens.append(Token(kind, content, position, end, len(openers)))
        if kind == "mark" and content in "([{":
            openers.append(tokens[-2] if len(tokens) > 1 else None)
        position = end
    return tokens, position


def _next(
    text: str, position: int, tokens: list[Token], before_bracket: Token | None
) -> tuple[str, int]:
    """Return kind and end of the token at ``position``."""
    if text[position] == "`":
        return "template", _template_end(text, position)
    match = _TOKEN.match(text, position)
    assert match is not None  # noqa: S101 - the last alternative matches any character
    kind = str(match.lastgroup)
    if kind == "mark" and match[0] == "/" and _expression_begins(tokens, before_bracket):
        regex = _REGEX.match(text, position)
        if regex:
            return "regex", regex.end()
    return kind, match.end()


def _expression_begins(tokens: list[Token], before_bracket: Token | None) -> bool:
    """Return whether an expression may begin after ``tokens``, rather than an operator."""
    if not tokens:
        return True
    last, previous = tokens[-1], tokens[-2] if len(tokens) > 1 else None
    if last.kind == "name":
        is_property = previous is not None and previous.text == "."
        return last.text in _BEFORE_EXPRESSION and not is_property
    if last.kind != "mark":
        return False
    if last.text == ")":
        return before_bracket is not None and before_bracket.text in _BEFORE_CONDITION
    if last.text in "+-" and previous is not None:
        return not (previous.text == last.text and previous.end == last.start)
    return last.text != "]"


def _template_end(text: str, position: int) -> int:
    """Return the index after the template literal that begins at ``position``."""
    at = position + 1
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == "`":
            return at + 1
        elif text.startswith("${", at):
            at = _tokens(text, at + 2, is_substitution=True)[1]
        else:
            at += 1
    return at


class _Reader:
    """Reads the import and export statements of one file."""

    def __init__(self, path: Path, root: Path) -> None:
        self._root = root
        self._text = path.read_text(encoding="utf-8")
        self._tokens = tokenize(self._text)
        self._index = 0
        self._parts: list[str] = []
        self._copied = 0  # characters of the text that are in parts, or left out of them
        self.module = Module(path)

    def read(self) -> Module:
        """Return the module with its statements rewritten."""
        while self._index < len(self._tokens):
            token = self._tokens[self._index]
            if token.kind == "name" and token.depth == 0 and not self._is_property():
                if token.text == "import" and self._peek(1) not in {"(", "."}:
                    self._read_import()
                    continue
                if token.text == "export":
                    self._read_export()
                    continue
            self._index += 1
        self._parts.append(self._text[self._copied :])
        self.module.text = "".join(self._parts)
        return self.module

    def _is_property(self) -> bool:
        return self._index > 0 and self._tokens[self._index - 1].text == "."

    def _peek(self, by: int = 0) -> str:
        index = self._index + by
        return self._tokens[index].text if index < len(self._tokens) else ""

    def _take(self) -> Token:
        if self._index >= len(self._tokens):
            raise self._error("ends within an import or export statement", len(self._text))
        self._index += 1
        return self._tokens[self._index - 1]

    def _expect(self, *texts: str) -> str:
        token = self._take()
        if token.text not in texts:
            raise self._error(f"has {token.text!r}, not {' or '.join(texts)}", token.start)
        return token.text

    def _error(self, problem: str, position: int) -> LinkError:
        line = self._text.count("\n", 0, position) + 1
        return LinkError(f"{self.module.path.name}, line {line}, {problem}.")

    def _replace(self, start: int, end: int, text: str = "") -> None:
        # Line breaks stay, so that a browser's line numbers are those of the file.
        breaks = "\n" * self._text.count("\n", start, end)
        self._parts += [self._text[self._copied : start], text, breaks]
        self._copied = end

    def _end_statement(self) -> int:
        if self._peek() == ";":
            self._index += 1
        return self._tokens[self._index - 1].end

    def _source(self) -> Path:
        token = self._take()
        name = token.text[1:-1]
        path = (self.module.path.parent / name).resolve()
        if token.kind != "string" or not name.startswith("."):
            raise self._error(f"imports {token.text}, which is no relative path", token.start)
        if not path.is_relative_to(self._root.resolve()) or not path.is_file():
            raise self._error(f"imports {token.text}, which is not in this folder", token.start)
        return path

    def _read_import(self) -> None:
        start = self._take().start
        names: list[tuple[str, str]] = []
        if self._tokens[self._index].kind != "string":
            while True:
                if self._peek() == "{":
                    names += self._names()
                elif self._peek() == "*":
                    self._index += 1
                    self._expect("as")
                    names.append(("*", self._take().text))
                else:
                    names.append(("default", self._take().text))
                if self._expect(",", "from") == "from":
                    break
        self.module.imports.append((self._source(), names))
        self._replace(start, self._end_statement())

    def _names(self) -> list[tuple[str, str]]:
        """Return the pairs of ``{a, b as c}``: the name before ``as`` and the one after it."""
        self._expect("{")
        pairs = []
        while self._peek() != "}":
            name = alias = self._take().text
            if self._peek() == "as":
                self._index += 1
                alias = self._take().text
            pairs.append((name, alias))
            if self._peek() != "}":
                self._expect(",")
        self._expect("}")
        return pairs

    def _read_export(self) -> None:
        start = self._take().start
        text = self._peek()
        if text == "{":
            self._export_names(start)
        elif text == "default":
            self._export_default(start)
        elif text in _DECLARATIONS:
            self._replace(start, self._tokens[self._index].start)
            self._export_declaration()
        else:
            raise self._error(f"has an export that is not supported: {text}", start)

    def _export_names(self, start: int) -> None:
        pairs = self._names()
        if self._peek() == "from":
            self._index += 1
            scope = f"$from{len(self.module.imports)}"
            self.module.imports.append((self._source(), [(n, f"{scope}{n}") for n, _ in pairs]))
            pairs = [(f"{scope}{name}", alias) for name, alias in pairs]
        for name, alias in pairs:
            self._add_export(alias, name, start)
        self._replace(start, self._end_statement())

    def _export_default(self, start: int) -> None:
        end = self._take().end
        words = [self._peek(by) for by in range(4)]
        words = words[1:] if words[0] == "async" else words
        keyword, *rest = words
        name = rest[1] if rest[0] == "*" else rest[0]
        if keyword in {"function", "class"} and re.match(r"[\w$]", name) and name != "extends":
            self._replace(start, self._tokens[self._index].start)
            self._add_export("default", name, start)
        else:
            self._replace(start, end, "const $default =")
            self._add_export("default", "$default", start)

    def _export_declaration(self) -> None:
        keyword = self._take().text
        if keyword == "async":
            keyword = self._expect("function")
        if self._peek() == "*":
            self._index += 1
        self._export_name(self._take())
        while keyword in {"const", "let", "var"} and self._index < len(self._tokens):
            token = self._tokens[self._index]
            if token.depth == 0 and token.text in {";", "import", "export"}:
                return
            self._index += 1
            if token.depth == 0 and token.text == ",":
                self._export_name(self._take())

    def _export_name(self, token: Token) -> None:
        if token.kind != "name":
            raise self._error("exports a pattern; name each export", token.start)
        self._add_export(token.text, token.text, token.start)

    def _add_export(self, name: str, local: str, position: int) -> None:
        if name in self.module.exports:
            raise self._error(f"exports {name} twice", position)
        self.module.exports[name] = local


def _load(entry: Path, root: Path) -> list[Module]:
    """Return the entry and all that it imports, each after its own imports."""
    modules: dict[Path, Module] = {}
    open_paths: list[Path] = []

    def visit(path: Path) -> None:
        if path in open_paths:
            cycle = " → ".join(item.name for item in [*open_paths[open_paths.index(path) :], path])
            raise LinkError(f"Modules import one another: {cycle}.")
        if path in modules:
            return
        open_paths.append(path)
        module = _Reader(path, root).read()
        for source, names in module.imports:
            visit(source)
            for name, _ in names:
                if name != "*" and name not in modules[source].exports:
                    raise LinkError(
                        f"{path.name} imports {name} from {source.name}, which has no such export."
                    )
        open_paths.pop()
        modules[path] = module

    visit(entry.resolve())
    return list(modules.values())


def link(entry: str, folder: Path = FOLDER) -> str:
    """Return an ES module that joins ``entry`` with all that it imports.

    Args:
        entry: Path of the entry's file in ``folder``; its exports become the result's.
        folder: The folder that all modules are in.

    Raises:
        LinkError: An import leads nowhere, names are missing, or modules import one another.
    """
    modules = _load(folder / entry, folder)
    scopes = {module.path: f"$module{index}" for index, module in enumerate(modules)}
    parts = []
    for module in modules:
        imports = []
        for source, names in module.imports:
            pairs = [f"{json.dumps(name)}: {local}" for name, local in names if name != "*"]
            if pairs:
                imports.append(f"const {{ {', '.join(pairs)} }} = {scopes[source]};")
            spaces = [local for name, local in names if name == "*"]
            imports += [f"const {local} = {scopes[source]};" for local in spaces]
        exports = [f"{json.dumps(name)}: {local}" for name, local in module.exports.items()]
        parts.append(
            f"const {scopes[module.path]} = (() => {{ {' '.join(imports)}\n{module.text}\n"
            f"return {{ {', '.join(exports)} }};\n}})();\n"
        )
    for name in modules[-1].exports:
        value = f"{scopes[modules[-1].path]}.{name};\n"
        parts.append(f"export {'default' if name == 'default' else f'const {name} ='} {value}")
    return "".join(parts)


def style(*names: str, folder: Path = FOLDER) -> str:
    """Return style sheets as one, in the order of ``names``."""
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
