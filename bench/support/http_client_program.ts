// A program of its own: asks an HTTP server for something small, one request every few milliseconds, and
// tells its parent how long each took when it is told to stop.
//
//   http_client_program PORT PERIOD_MS

import { Agent, get } from "node:http";

const [port, periodMs] = process.argv.slice(2).map(Number) as [number, number];
const agent = new Agent({ keepAlive: true });
const latencies: number[] = [];

function ask(): void {
  const startMs = performance.now();
  get({ host: "127.0.0.1", port, agent }, (response) => {
    response.resume().on("end", () => latencies.push(performance.now() - startMs));
  });
}

const timer = setInterval(ask, periodMs);
process.on("message", () => {
  clearInterval(timer);
  process.send!({ latencies }, () => process.exit());
});
process.on("disconnect", () => process.exit());
