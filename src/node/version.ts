// The version, from the package's own package.json: two folders up from src/node, three from dist/src/node.
import { existsSync, readFileSync } from "node:fs";

export function versionText(): string {
  const candidates = ["../../package.json", "../../../package.json"].map(
    (path) => new URL(path, import.meta.url),
  );
  const found = candidates.find((url) => existsSync(url));
  if (found === undefined) return "unknown";
  return (JSON.parse(readFileSync(found, "utf8")) as { version: string }).version;
}
