import { clientPrograms } from "./client_programs.ts";
import { MemoryDevice } from "./memory_device.ts";

clientPrograms("memory", async (bytes) => ({ device: new MemoryDevice(bytes), close: async () => {} }));
