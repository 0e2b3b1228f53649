// A private copy of the built project, in which one mutant at a time is planted. It holds what tests look at: dist/ and
// the sources as copies, since both get the bug, everything else as links.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../support/sources.ts";
import { isOfKernel, type Mutant } from "./mutant.ts";
import { mutatedSource } from "./transpile.ts";

const COPIED = ["dist", "src", "assembly", "package.json", "asconfig.json"];
/** Tests look at the text of these, and at what is installed. */
const LINKED = ["node_modules", "docs", "test", "bench", "examples", "README.md", "LICENSE"];
const WASM = join("dist", "mirrorvol.wasm");
const WASM_MODULE = join("dist", "src", "kernel", "wasm.gen.js");

export class Tree {
  readonly path: string;
  /** What has to be put back: by path, the original. */
  readonly #changed = new Map<string, Buffer>();

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), "mirrorvol-mutant-"));
    process.on("exit", () => this.remove());
    for (const name of COPIED) cpSync(join(projectRoot, name), join(this.path, name), { recursive: true });
    for (const name of LINKED) symlinkSync(join(projectRoot, name), join(this.path, name));
  }

  /** `javaScript` is that of a mutant in src/. */
  plant(mutant: Mutant, javaScript: string | undefined): void {
    this.#write(mutant.file, mutatedSource(mutant));
    if (isOfKernel(mutant)) this.#buildKernel();
    else this.#write(join("dist", mutant.file.replace(/\.ts$/, ".js")), javaScript!);
  }

  restore(): void {
    for (const [name, content] of this.#changed) writeFileSync(join(this.path, name), content);
    this.#changed.clear();
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  #buildKernel(): void {
    const args = [join("assembly", "index.ts"), "--config", "asconfig.json", "--outFile", "mutant.wasm"];
    const compiler = join(projectRoot, "node_modules", ".bin", "asc");
    const { status, stderr } = spawnSync(compiler, args, { cwd: this.path, encoding: "utf8" });
    if (status !== 0) throw new Error(`the mutated module does not compile: ${stderr}`);
    const wasm = readFileSync(join(this.path, "mutant.wasm"));
    this.#write(WASM, wasm);
    this.#write(WASM_MODULE, `export const WASM_BASE64 = "${wasm.toString("base64")}";\n`);
  }

  #write(name: string, content: string | Buffer): void {
    const path = join(this.path, name);
    if (!this.#changed.has(name)) this.#changed.set(name, readFileSync(path));
    writeFileSync(path, content);
  }
}
