// The command line apart from what it does: what is understood, and how the wrong thing is named.
import { helpText, parseCommandLine } from "../../src/cli/arguments.ts";
import type { MirrorvolError } from "../../src/kernel/errors.ts";
import { assert, suite } from "../support/harness.ts";

const test = suite("cli arguments");
const parse = (line: string) => parseCommandLine(line.split(" ").filter((word) => word !== ""));

function refusal(line: string): string {
  try {
    parse(line);
  } catch (error) {
    assert.is((error as MirrorvolError).code, "ERR_USAGE", line);
    return (error as MirrorvolError).message;
  }
  throw new Error(`"${line}" was accepted`);
}

test("understands the commands of the contract", () => {
  const config = "c.json";
  assert.equal(parse("create --config c.json"), { name: "create", config, volumes: [] });
  assert.equal(parse("create a --config=c.json b"), { name: "create", config, volumes: ["a", "b"] });
  assert.equal(parse("check --config c.json"), { name: "check", config, volumes: [], isJson: false });
  assert.equal(parse("check a --json --config c.json b"), {
    name: "check",
    config,
    volumes: ["a", "b"],
    isJson: true,
  });
  assert.equal(parse("serve --config c.json"), { name: "serve", config });
  assert.equal(parse("status --json --config c.json"), { name: "status", config, isJson: true });
  assert.equal(parse("promote --config c.json v"), { name: "promote", config, volume: "v", force: false });
  assert.equal(parse("promote --force v --config c.json"), {
    name: "promote",
    config,
    volume: "v",
    force: true,
  });
  const inspect = { name: "inspect", kind: "log", paths: ["p", "q"], isJson: true, withData: false };
  assert.equal(parse("inspect log p q --json"), inspect);
  assert.equal(parse("--version"), { name: "version" });
  for (const line of ["--help", "-h", "help"]) assert.equal(parse(line), { name: "help", of: null });
  for (const line of ["help serve", "serve --help", "serve -h"]) {
    assert.equal(parse(line), { name: "help", of: "serve" });
  }
});

const WRONG: [line: string, named: string][] = [
  ["", "a command is missing"],
  ["--verbose", "unknown option --verbose"],
  ["destroy", 'unknown command "destroy"'],
  ["constructor", 'unknown command "constructor"'],
  ["serve", "serve: --config FILE is missing"],
  ["serve --config", "serve: option '--config <value>' argument missing"],
  ["serve --config c extra", 'serve: unexpected "extra"'],
  ["serve --config c --json", "serve: unknown option '--json'"],
  ["status --config c --force", "status: unknown option '--force'"],
  ["check", "check: --config FILE is missing"],
  ["check --config c --quick", "check: unknown option '--quick'"],
  ["promote --config c", "promote: the VOLUME is missing"],
  ["promote --config c a b", 'promote: one volume at a time, "b" is too many'],
  ["inspect", "inspect: one of superblock, log, map is missing"],
  ["inspect disk p", 'inspect: "disk" is none of superblock, log, map'],
  ["inspect map", "inspect: a PATH is missing"],
  ["inspect log p --data", "inspect: --data is for the map, not for the log"],
  ["inspect map p --config c", "inspect: unknown option '--config'"],
];

for (const [line, named] of WRONG) {
  test(`names what is wrong in "mirrorvol ${line}"`, () => {
    const message = refusal(line);
    assert.ok(message.includes(named), `${message}\ndoes not say: ${named}`);
    assert.match(message, /see mirrorvol .*--help/);
  });
}

test("lists in the help what there is, and nothing that is not", () => {
  const text = helpText(null);
  for (const word of ["create", "serve", "status", "promote", "check", "inspect"]) {
    assert.match(text, `mirrorvol ${word}`);
    assert.match(helpText(word as "serve"), new RegExp(`^mirrorvol ${word} `));
  }
  for (const word of ["demote", "scrub", "replace", "snapshot", "verify"]) assert.not.match(text, word);
  for (const line of text.split("\n")) assert.ok(line.length <= 110, line);
});

test.run();
