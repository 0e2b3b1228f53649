// mirrorvol serve: runs the node until SIGTERM or SIGINT. stdout has one line, "ready {json}", when the node
// accepts clients; everything else that happens goes to stderr, a line each.
import { nodeWorld } from "../io/node_world.ts";
import { loadConfig } from "../node/config.ts";
import { Node } from "../node/node.ts";

export async function serve(command: { readonly config: string }): Promise<number> {
  const config = loadConfig(command.config);
  const signal = waitForSignal();
  const node = await Node.start({ config, world: nodeWorld(), onEvent: (text) => log(text) });
  process.stdout.write(`ready ${JSON.stringify(node.ready)}\n`);
  log(`${await signal}: closing`);
  await node.close();
  return 0;
}

/** The first signal closes; the second one does not wait for that. */
function waitForSignal(): Promise<string> {
  return new Promise((resolve) => {
    let count = 0;
    const onSignal = (name: string) => {
      if (++count > 1) process.exit(1);
      resolve(name);
    };
    process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  });
}

function log(text: string): void {
  process.stderr.write(`${new Date().toISOString()} ${text}\n`);
}
