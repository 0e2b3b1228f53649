// Promoting a mirror. A source that was closed or has just died may still count as connected for a moment, until
// the system has told us: so a refusal for that reason is not given at once.
import type { World } from "../io/world.ts";
import type { MirrorService } from "../replication/mirror.ts";
import type { Promotion } from "../replication/promote.ts";
import type { Volume } from "../volume/volume.ts";

const GRACE_MS = 1_000;
const POLL_MS = 10;

export async function promoteVolume(
  { clock }: World,
  mirrors: MirrorService,
  volume: Volume,
  options: { readonly force?: boolean },
): Promise<Promotion> {
  const { name } = volume;
  for (const end = clock.nowMs() + GRACE_MS; mirrors.connected(name) && clock.nowMs() < end; ) {
    await new Promise<void>((resolve) => clock.setTimer(POLL_MS, resolve));
  }
  return mirrors.promote(name, options);
}
