#!/usr/bin/env node
import { MirrorvolError } from "../kernel/errors.ts";
// The program `mirrorvol`: arguments in, exit code out. What the commands do is in their own files, and a file is
// loaded when its command is asked for: `status` need not wait for the engine.
import { messageOf } from "../node/admin_api.ts";
import { versionText } from "../node/version.ts";
import { type Command, helpText, parseCommandLine } from "./arguments.ts";

const USAGE_CODES: readonly string[] = ["ERR_USAGE", "ERR_CONFIG"];

async function runCommand(command: Command): Promise<number> {
  switch (command.name) {
    case "help":
      return say(helpText(command.of));
    case "version":
      return say(`${versionText()}\n`);
    case "create":
      return (await import("./create.ts")).create(command);
    case "serve":
      return (await import("./serve.ts")).serve(command);
    case "status":
      return (await import("./status.ts")).status(command);
    case "promote":
      return (await import("./promote.ts")).promote(command);
    case "check":
      return (await import("./check.ts")).check(command);
    case "inspect":
      return (await import("./inspect.ts")).inspect(command);
  }
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

/** 0 done, 1 a fault was found or the operation failed, 2 wrong usage or configuration. */
async function main(args: readonly string[]): Promise<number> {
  try {
    return await runCommand(parseCommandLine(args));
  } catch (error) {
    process.stderr.write(`mirrorvol: ${messageOf(error)}\n`);
    if (!(error instanceof MirrorvolError)) process.stderr.write(`${(error as Error).stack}\n`);
    return error instanceof MirrorvolError && USAGE_CODES.includes(error.code) ? 2 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
