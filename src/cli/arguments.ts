// The command line: which commands there are, what each takes, and the help that says so. Wrong usage is an
// ERR_USAGE that names the wrong thing.
import { parseArgs } from "node:util";
import { MirrorvolError } from "../kernel/errors.ts";

const INSPECT_KINDS = ["superblock", "log", "map"] as const;
export type InspectKind = (typeof INSPECT_KINDS)[number];

export type Command =
  | { readonly name: "help"; readonly of: CommandName | null }
  | { readonly name: "version" }
  | { readonly name: "create"; readonly config: string; readonly volumes: readonly string[] }
  | { readonly name: "serve"; readonly config: string }
  | { readonly name: "status"; readonly config: string; readonly isJson: boolean }
  | { readonly name: "promote"; readonly config: string; readonly volume: string; readonly force: boolean }
  | {
      readonly name: "check";
      readonly config: string;
      readonly volumes: readonly string[];
      readonly isJson: boolean;
    }
  | {
      readonly name: "inspect";
      readonly kind: InspectKind;
      readonly paths: readonly string[];
      readonly isJson: boolean;
      /** For the map: read and verify the data as well. */
      readonly withData: boolean;
    };

const COMMANDS = {
  create: {
    usage: "create  --config FILE [VOLUME...]",
    about: "make the members and logs (refuses what exists)",
    options: ["config"],
    help: "Makes the named volumes, or all. What exists is never touched; after a failure nothing is left behind.",
  },
  serve: {
    usage: "serve   --config FILE",
    about: "run the node until SIGTERM or SIGINT",
    options: ["config"],
    help: 'Prints one line "ready {json}" on stdout when it accepts clients; events go to stderr.',
  },
  status: {
    usage: "status  --config FILE [--json]",
    about: "ask the running node for its volumes",
    options: ["config", "json"],
    help: "Roles, states, positions, consistency points, root hashes, ledger, members.",
  },
  promote: {
    usage: "promote --config FILE VOLUME [--force]",
    about: "make a mirror the source; done when it is served",
    options: ["config", "force"],
    help: "Refused while the source is connected, and, without --force, when the mirror is known not to be in sync.",
  },
  check: {
    usage: "check   --config FILE [VOLUME...] [--json]",
    about: "prove closed volumes consistent, reading only",
    options: ["config", "json"],
    help: [
      "Names what is wrong, with its place; refuses volumes in use.",
      "What is degraded but consistent is a warning, and the exit code is 0.",
    ].join("\n"),
  },
  inspect: {
    usage: "inspect superblock|log|map PATH... [--json]",
    about: "look into members and logs, offline, reading only",
    options: ["json", "data"],
    help: [
      "superblock  each PATH is a member: its newest valid superblock",
      "log         each PATH is a log file, or the prefix of a copy: its header and entries",
      "map         the PATHs are the members of one volume: its block map, walked and checked;",
      "            with --data every block is read and verified too",
    ].join("\n"),
  },
} as const;

export type CommandName = keyof typeof COMMANDS;

const OPTIONS = {
  config: { type: "string" },
  json: { type: "boolean" },
  force: { type: "boolean" },
  data: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

interface Parsed {
  readonly values: { config?: string; json?: boolean; force?: boolean; data?: boolean; help?: boolean };
  readonly positionals: readonly string[];
}

export function parseCommandLine(args: readonly string[]): Command {
  const [word, ...rest] = args;
  if (word === undefined) throw usageError(null, "a command is missing");
  if (word === "--version" || word === "-V") return { name: "version" };
  if (word === "--help" || word === "-h" || word === "help") {
    return { name: "help", of: rest[0] !== undefined && isCommand(rest[0]) ? rest[0] : null };
  }
  if (word.startsWith("-")) throw usageError(null, `unknown option ${word}`);
  if (!isCommand(word)) throw usageError(null, `unknown command "${word}"`);
  const parsed = parseOptions(word, rest);
  return parsed.values.help === true ? { name: "help", of: word } : interpret(word, parsed);
}

function isCommand(word: string): word is CommandName {
  return Object.hasOwn(COMMANDS, word);
}

function parseOptions(command: CommandName, args: readonly string[]): Parsed {
  const known: readonly string[] = [...COMMANDS[command].options, "help"];
  const options = Object.fromEntries(Object.entries(OPTIONS).filter(([name]) => known.includes(name)));
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true }) as Parsed;
  } catch (cause) {
    const [first] = (cause as Error).message.split(/[.\n]/);
    throw usageError(
      command,
      first!.replace(/^./, (letter) => letter.toLowerCase()),
    );
  }
}

function interpret(name: CommandName, { values, positionals }: Parsed): Command {
  const { config, json: isJson = false, force = false, data: withData = false } = values;
  if (name === "inspect") return interpretInspect(positionals, isJson, withData);
  if (config === undefined || config === "") throw usageError(name, "--config FILE is missing");
  if (name === "create") return { name, config, volumes: positionals };
  if (name === "check") return { name, config, volumes: positionals, isJson };
  const [first, ...more] = positionals;
  if (name === "promote") {
    if (first === undefined) throw usageError(name, "the VOLUME is missing");
    if (more.length > 0) throw usageError(name, `one volume at a time, "${more[0]}" is too many`);
    return { name, config, volume: first, force };
  }
  if (first !== undefined) throw usageError(name, `unexpected "${first}"`);
  return name === "serve" ? { name, config } : { name, config, isJson };
}

function interpretInspect([kind, ...paths]: readonly string[], isJson: boolean, withData: boolean): Command {
  const known = INSPECT_KINDS.find((each) => each === kind);
  if (kind === undefined) throw usageError("inspect", `one of ${INSPECT_KINDS.join(", ")} is missing`);
  if (known === undefined) throw usageError("inspect", `"${kind}" is none of ${INSPECT_KINDS.join(", ")}`);
  if (paths.length === 0) throw usageError("inspect", "a PATH is missing");
  if (withData && known !== "map") throw usageError("inspect", `--data is for the map, not for the ${known}`);
  return { name: "inspect", kind: known, paths, isJson, withData };
}

export function usageError(command: CommandName | null, message: string): MirrorvolError {
  const where = command === null ? "" : `${command}: `;
  const hint = command === null ? "mirrorvol --help" : `mirrorvol ${command} --help`;
  return new MirrorvolError("ERR_USAGE", `${where}${message} (see ${hint})`);
}

export function helpText(of: CommandName | null): string {
  if (of !== null) {
    const { usage, about, help } = COMMANDS[of];
    return `mirrorvol ${usage.replace(/ +/g, " ")}\n\n${about[0]!.toUpperCase()}${about.slice(1)}.\n${help}\n`;
  }
  const width = Math.max(...Object.values(COMMANDS).map(({ usage }) => usage.length)) + 2;
  const lines = Object.values(COMMANDS).map(
    ({ usage, about }) => `  mirrorvol ${usage.padEnd(width)}${about}`,
  );
  return [
    "mirrorvol: RAID block volumes, mirrored to a second machine write by write",
    "",
    ...lines,
    `  mirrorvol ${"--help | --version".padEnd(width)}also: mirrorvol COMMAND --help`,
    "",
    "Exit codes: 0 done, 1 a fault was found or the operation failed, 2 wrong usage or configuration.",
    "",
  ].join("\n");
}
