// A program for tests: listens on the Unix socket that its argument names until somebody ends it.

import { NodeStreams } from "../../src/io/node_stream.ts";

await new NodeStreams().listen(`unix:${process.argv[2]}`, () => {});
console.log("listening");
