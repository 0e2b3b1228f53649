// A program of its own: answers every message with a short one, as a mirror that does nothing would.
//
//   <- {address}, of a WebSocket; {port}, of plain TCP (4096 bytes in, 16 bytes out)

import { createServer } from "node:net";
import { nodeWorld } from "../../src/io/node_world.ts";

const MESSAGE_BYTES = 4096;
const ANSWER = new Uint8Array(16);

const listener = await nodeWorld().transport.listen("127.0.0.1:0", (connection) => {
  connection.onMessage = () => connection.send(ANSWER);
});
const server = createServer((socket) => {
  socket.setNoDelay(true);
  let bytes = 0;
  socket.on("error", () => {});
  socket.on("data", (data) => {
    bytes += data.length;
    for (; bytes >= MESSAGE_BYTES; bytes -= MESSAGE_BYTES) socket.write(ANSWER);
  });
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as { port: number };
  process.send!({ address: listener.address, port });
});
process.on("disconnect", () => process.exit());
