// Other people's programs, run to their end.
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export function isInstalled(program: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export interface ProgramEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

export async function finish(program: string, ...args: string[]): Promise<ProgramEnd> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  return { code, output, errors };
}

/** What the program printed; fails with all of it when the program does. */
export async function run(program: string, ...args: string[]): Promise<string> {
  const { code, output, errors } = await finish(program, ...args);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}:\n${output}${errors}`);
  return output;
}
