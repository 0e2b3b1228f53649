// Promoting a mirror. A source that was closed or has just died may still count as connected for a moment, until
// the system has told us: so a refusal for that reason is not given at once.
//
// A source that was fenced is a mirror too, and once was in sync. But it knows that a newer generation exists:
// promoting it would make a second history of one volume. That cannot be forced.
import type { World } from "../io/world.ts";
import type { MirrorService } from "../replication/mirror.ts";
import type { Promotion } from "../replication/promote.ts";
import { fenced, type Volume } from "../volume/volume.ts";

const GRACE_MS = 1_000;
const POLL_MS = 10;

export async function promoteVolume(
  { clock }: World,
  mirrors: MirrorService,
  volume: Volume,
  options: { readonly force?: boolean },
): Promise<Promotion> {
  const { name } = volume;
  const { fencedBy } = volume.persisted;
  if (fencedBy !== null) throw fenced(name, fencedBy);
  for (const end = clock.nowMs() + GRACE_MS; mirrors.connected(name) && clock.nowMs() < end; ) {
    await new Promise<void>((resolve) => clock.setTimer(POLL_MS, resolve));
  }
  return mirrors.promote(name, options);
}
