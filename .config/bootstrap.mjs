// `npm start` and `npm test` on a fresh clone, with nothing but Node and npm: installs what the lock file
// names if it is not there, builds, and runs the demonstration or the tests with the arguments given.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "./build.mjs";
import { root, run, withLock } from "./paths.mjs";

const programs = { demo: "dist/examples/demo.js", test: "dist/test/run.js" };

/** True when every package of the lock file is installed in its version (optional ones may be absent). */
function isInstalled() {
  const installedPath = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installedPath)) return false;
  const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(installedPath, "utf8")).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === "") return true;
    return installed[path] ? installed[path].version === entry.version : entry.optional === true;
  });
}

function install() {
  return withLock(() => (isInstalled() ? 0 : run("npm", ["ci", "--no-audit", "--no-fund"])));
}

const [target, ...args] = process.argv.slice(2);
const program = programs[target];
if (program === undefined) throw new Error(`bootstrap: unknown target ${target}`);
process.exitCode = install() || build() || run(process.execPath, [join(root, program), ...args]);
