// A program for tests: listens on the Unix socket that its argument names until its stdin ends.

import { NodeStreams } from "../../src/io/node_stream.ts";

await new NodeStreams().listen(`unix:${process.argv[2]}`, () => {});
console.log("listening");
process.stdin.resume().on("end", () => process.exit());
