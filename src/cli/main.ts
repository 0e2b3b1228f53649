#!/usr/bin/env node
import { MirrorvolError } from "../kernel/errors.ts";
// The program `mirrorvol`: arguments in, exit code out. What the commands do is in their own files.
import { messageOf } from "../node/admin_api.ts";
import { versionText } from "../node/version.ts";
import { type Command, helpText, parseCommandLine } from "./arguments.ts";
import { check } from "./check.ts";
import { create } from "./create.ts";
import { inspect } from "./inspect.ts";
import { promote } from "./promote.ts";
import { serve } from "./serve.ts";
import { status } from "./status.ts";

const USAGE_CODES: readonly string[] = ["ERR_USAGE", "ERR_CONFIG"];

async function runCommand(command: Command): Promise<number> {
  switch (command.name) {
    case "help":
      return say(helpText(command.of));
    case "version":
      return say(`${versionText()}\n`);
    case "create":
      return create(command);
    case "serve":
      return serve(command);
    case "status":
      return status(command);
    case "promote":
      return promote(command);
    case "check":
      return check(command);
    case "inspect":
      return inspect(command);
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
