// A joined module, imported as a browser does: node --test, with its address in JOINED.
import assert from "node:assert/strict";
import { test } from "node:test";

const { default: entry } = await import(process.env.JOINED);

test("strings, templates, comments and regular expressions are delivered as written", () => {
  assert.equal(entry.slashes, "https://a.example // no comment");
  assert.equal(entry.stars, "\n* one\n  * two // three\n/* four */\n");
  assert.equal(entry.words, 'import { x } from "./none.js"; export default 1;');
  assert.equal(entry.nested, "a `import` {b} c");
  assert.deepEqual(entry.pattern, ["export default", "/`"]);
  assert.equal(entry.half, 2);
  assert.equal(entry.afterCondition, true);
});

test("imports may be renamed, default or a namespace; exports may be a list", () => {
  assert.equal(entry.renamed, 3);
  assert.equal(entry.listed, "listed");
  assert.deepEqual(Object.keys(entry.space).sort(), ["default", "first", "second", "total"]);
  assert.equal(entry.fallback(), "default");
  assert.equal(new entry.Shape().sides, 4);
  assert.equal(entry.again, 1);
  assert.ok(entry.counter.next() === 1 && entry.counter.next() === 2);
});

test("a name of one file is no name of another", () => {
  assert.equal(entry.own, "entry");
});
