// The events of a small world (orders_world.ts), and every order of them that is worth a run.
//
//   w  a client writes a block, on every side that serves          s  the first source crashes, or comes back
//   c  a consistency point is asked for                            m  the first mirror crashes, or comes back
//   x  the link breaks; it can be made anew at once                p  the mirror is promoted
//   n  the network goes down, or comes back                        f  it is promoted by force
//   t  time passes, more than mirrorTimeoutMs                      o  the old source returns as the mirror of the
//                                                                     promoted one: a person exchanged the roles
//
// An order is left out when another one that is run says the same:
//   - an event that cannot be: a write where nobody is up, a second promotion, time while all is well;
//   - the same event twice in a row where the second changes nothing (w, c, x, t), or takes the first back at once (n);
//   - two neighbours that cannot know of each other, because no two sides are connected before, between and after
//     them: they are run in one order only (`isSwapped`);
//   - a last event that only brings something back: after every order everything is brought back.
// What turns out to have no effect (a promotion that is refused, say) ends its run; orders that go on from there are
// left out too, because the same order without that event is run.

export type OrderEvent = "w" | "c" | "x" | "n" | "t" | "s" | "m" | "p" | "f" | "o";

const EVENTS: readonly OrderEvent[] = ["w", "c", "x", "n", "t", "s", "m", "p", "f", "o"];

/** What is known of the world without running it. */
interface Outline {
  readonly isSourceUp: boolean;
  readonly isMirrorUp: boolean;
  readonly isNetworkDown: boolean;
  readonly isPromoted: boolean;
  readonly isExchanged: boolean;
  /** Somebody may have gone on alone. */
  readonly hasWaited: boolean;
}

const START: Outline = {
  isSourceUp: true,
  isMirrorUp: true,
  isNetworkDown: false,
  isPromoted: false,
  isExchanged: false,
  hasWaited: false,
};

/** Every order of 1 to `length` events, each behind the orders that it begins with. */
export function allOrders(length: number): string[] {
  const orders: string[] = [];
  const visit = (order: string, outlines: readonly Outline[]): void => {
    if (order !== "" && !isReturn(order, outlines)) orders.push(order);
    if (order.length === length) return;
    for (const event of EVENTS) {
      const now = outlines[outlines.length - 1]!;
      if (!isPossible(event, now, order) || isSwapped(event, order, outlines)) continue;
      visit(order + event, [...outlines, after(event, now)]);
    }
  };
  visit("", [START]);
  return orders;
}

function isPossible(event: OrderEvent, now: Outline, order: string): boolean {
  const last = order.at(-1);
  switch (event) {
    case "w":
    case "c":
      return isServing(now) && last !== event;
    case "x":
      return isConnected(now) && last !== "x" && last !== "n";
    case "n":
      return last !== "n";
    case "t":
      return !isConnected(now) && last !== "t";
    case "p":
      return now.isMirrorUp && !now.isPromoted && !isConnected(now);
    case "f":
      return now.isMirrorUp && !now.isPromoted && !isConnected(now) && now.hasWaited;
    case "o":
      return now.isMirrorUp && now.isPromoted && !now.isExchanged;
    default:
      return true;
  }
}

function after(event: OrderEvent, now: Outline): Outline {
  switch (event) {
    case "n":
      return { ...now, isNetworkDown: !now.isNetworkDown };
    case "s":
      return { ...now, isSourceUp: !now.isSourceUp };
    case "m":
      return { ...now, isMirrorUp: !now.isMirrorUp };
    case "p":
    case "f":
      return { ...now, isPromoted: true };
    case "o":
      return { ...now, isExchanged: true, isSourceUp: true };
    case "t":
      return { ...now, hasWaited: true };
    default:
      return now;
  }
}

function isServing(now: Outline): boolean {
  const isFirstServing = now.isSourceUp && !now.isExchanged;
  return isFirstServing || (now.isPromoted && now.isMirrorUp);
}

/** Entries may go from one side to the other. A promoted mirror only tells the old source so. */
function isConnected(now: Outline): boolean {
  const isPair = !now.isPromoted || now.isExchanged;
  return isPair && isReachable(now);
}

function isReachable(now: Outline): boolean {
  return now.isSourceUp && now.isMirrorUp && !now.isNetworkDown;
}

/** Each touches its own side, and n the network. A write or CP belongs to the first source alone until a promotion. */
const OWN: Partial<Record<OrderEvent, string>> = { s: "source", m: "mirror", n: "network" };

function sideOf(event: OrderEvent, now: Outline): string | null {
  const isOne = (event === "w" || event === "c") && !now.isPromoted;
  return isOne ? "source" : (OWN[event] ?? null);
}

/** The last event and this one could change places, and the other order comes first. */
function isSwapped(event: OrderEvent, order: string, outlines: readonly Outline[]): boolean {
  const last = order.at(-1) as OrderEvent | undefined;
  if (last === undefined || EVENTS.indexOf(last) <= EVENTS.indexOf(event)) return false;
  const [before, between] = [outlines[outlines.length - 2]!, outlines[outlines.length - 1]!];
  const [one, other] = [sideOf(last, before), sideOf(event, between)];
  if (one === null || other === null || one === other) return false;
  if (!isPossible(event, before, order.slice(0, -1))) return false;
  const seen = [before, between, after(event, before), after(event, between)];
  return seen.every((outline) => !isReachable(outline));
}

function isReturn(order: string, outlines: readonly Outline[]): boolean {
  const now = outlines[outlines.length - 1]!;
  const last = order.at(-1);
  if (last === "n") return !now.isNetworkDown;
  if (last === "s") return now.isSourceUp;
  return last === "m" && now.isMirrorUp;
}
