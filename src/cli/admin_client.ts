// How the commands ask the running node: by its admin socket, whose path the configuration gives.
import { request } from "node:http";
import { MirrorvolError } from "../kernel/errors.ts";
import type { NodeConfig } from "../node/config.ts";

const STATUS_MS = 30_000;

/** The answer's JSON. Throws ERR_NOT_RUNNING, or the error that the node answered with. */
export async function askNode(
  config: NodeConfig,
  method: "GET" | "POST",
  path: string,
  body?: object,
): Promise<unknown> {
  const { status, text } = await send(config, method, path, body === undefined ? "" : JSON.stringify(body));
  let answer: { error?: { code: `ERR_${string}`; message: string } };
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch (cause) {
    throw new MirrorvolError("ERR_ADMIN", `${config.admin} does not answer as a node would`, { cause });
  }
  if (status === 200) return answer;
  const { code, message } = answer.error ?? { code: "ERR_ADMIN" as const, message: `HTTP status ${status}` };
  throw new MirrorvolError(code, message);
}

function send(
  config: NodeConfig,
  method: string,
  path: string,
  body: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = body === "" ? {} : { "content-type": "application/json" };
    const outgoing = request({ socketPath: config.admin, method, path, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", (cause) => reject(lost(config, cause)));
    });
    // A promotion takes as long as it takes; looking does not.
    if (method === "GET") {
      outgoing.setTimeout(STATUS_MS, () => outgoing.destroy(new Error(`no answer within ${STATUS_MS} ms`)));
    }
    outgoing.on("error", (cause: NodeJS.ErrnoException) => reject(lost(config, cause)));
    outgoing.end(body);
  });
}

function lost(config: NodeConfig, cause: NodeJS.ErrnoException): MirrorvolError {
  const { code } = cause;
  if (code === "ENOENT" || code === "ECONNREFUSED") {
    const hint = `no node is running for ${config.file} (nobody listens at ${config.admin})`;
    return new MirrorvolError("ERR_NOT_RUNNING", hint, { cause });
  }
  return new MirrorvolError("ERR_ADMIN", `${config.admin}: ${cause.message}`, { cause });
}
