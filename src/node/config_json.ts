// JSON as a person writes it into a file: what JSON.parse swallows in silence is an error here.
//
// JSON.parse keeps the last of two equal keys; in a configuration the first may be the one that matters
// ("orders" twice, with different members). So the text is walked once more: by then it is known to be
// valid, and only strings and brackets are of interest.

import { MirrorvolError } from "../kernel/errors.ts";

type Frame = { kind: "object"; keys: Set<string>; key: string } | { kind: "array"; index: number };

/** Throws ERR_CONFIG that names the place (line and column) or the key path. */
export function parseStrictJson(text: string, file: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new MirrorvolError("ERR_CONFIG", `${file}: this is not JSON: ${reason}`, { cause });
  }
  const twice = findRepeatedKey(text);
  if (twice !== null) throw new MirrorvolError("ERR_CONFIG", `${file}: ${twice}: this key is there twice`);
  return value;
}

/** The path of the first key that occurs twice in one object, or null. The text must be valid JSON. */
function findRepeatedKey(text: string): string | null {
  const frames: Frame[] = [];
  const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|[[\]{},]/g;
  for (let token = tokens.exec(text); token !== null; token = tokens.exec(text)) {
    const [piece] = token;
    const top = frames.at(-1);
    if (piece === "{") frames.push({ kind: "object", keys: new Set(), key: "" });
    else if (piece === "[") frames.push({ kind: "array", index: 0 });
    else if (piece === "}" || piece === "]") frames.pop();
    else if (piece === "," && top?.kind === "array") top.index++;
    else if (token[1] !== undefined && top?.kind === "object") {
      top.key = JSON.parse(piece.slice(0, piece.lastIndexOf('"') + 1)) as string;
      if (top.keys.has(top.key)) return pathOf(frames);
      top.keys.add(top.key);
    }
  }
  return null;
}

function pathOf(frames: readonly Frame[]): string {
  return formatKeyPath(frames.map((frame) => (frame.kind === "object" ? frame.key : frame.index)));
}

/** ["volumes", "orders", "members", 1] becomes volumes.orders.members[1]. */
export function formatKeyPath(keys: readonly (string | number)[]): string {
  const path = keys.map((key) => {
    if (typeof key === "number") return `[${key}]`;
    return /^[\w-]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
  });
  return path.join("").replace(/^\./, "");
}
