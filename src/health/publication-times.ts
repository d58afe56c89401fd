import type { NodeName } from '../core/model/names.ts';
import type { GatedListener } from '../ports/gate.ts';
import type { ShownServed } from './kube-proxy-proof.ts';

/**
 * When the listeners of a family were published. A node serves those that were published before a certain time, so the order of the
 * times says which of ten thousand listeners it serves, and whether there are others:
 *
 *   published   12  12  12  47  63  63  90
 *                          ▲           ▲
 *         served until 50 ─┘           └─ served until 80: those of 63 have opened, that of 90 is awaited
 */
export type PublicationTimes = {
  add(listener: GatedListener): void;
  /** One that was added. */
  remove(listener: GatedListener): void;
  /** Whether some are not published. */
  hasUnpublished(): boolean;
  /** Whether a node serves some of them. */
  hasServed(by: ShownServed): boolean;
  /** Whether some are published that a node does not serve. */
  hasAwaited(by: ShownServed): boolean;
  /** Whether a node serves others than before. */
  isMore(before: ShownServed, now: ShownServed): boolean;
};

export function makePublicationTimes(): PublicationTimes {
  /** Ascending. */
  const found: number[] = [];
  const others: number[] = [];
  let unpublished = 0;
  const served = ({ hasRules, untilMs, foundUntilMs }: ShownServed): number =>
    hasRules ? indexAfter(others, untilMs) + indexAfter(found, foundUntilMs) : 0;
  return {
    add: ({ publishedMs, isFoundPublished, widened }) => {
      if (publishedMs === undefined) unpublished++;
      else insert(isFoundPublished ? found : others, publishedMs);
      if (widened !== undefined) insert(found, widened.atMs);
    },
    remove: ({ publishedMs, isFoundPublished, widened }) => {
      if (publishedMs === undefined) unpublished--;
      else removeOne(isFoundPublished ? found : others, publishedMs);
      if (widened !== undefined) removeOne(found, widened.atMs);
    },
    hasUnpublished: () => unpublished > 0,
    hasServed: (by) => served(by) > 0,
    hasAwaited: (by) => served(by) < found.length + others.length,
    isMore: (before, now) => served(now) > served(before),
  };
}

/** Whether a node serves the listener. */
export function isServed({ publishedMs, isFoundPublished }: GatedListener, by: ShownServed): boolean {
  if (publishedMs === undefined || !by.hasRules) return false;
  return publishedMs <= (isFoundPublished ? by.foundUntilMs : by.untilMs);
}

/** Whether the node serves the listener though it may have no endpoints of the Service. */
export function isServedWidely({ widened }: GatedListener, by: ShownServed, node: NodeName): boolean {
  return widened === undefined || widened.before.has(node) || widened.atMs <= by.foundUntilMs;
}

function insert(times: number[], atMs: number): void {
  times.splice(indexAfter(times, atMs), 0, atMs);
}

function removeOne(times: number[], atMs: number): void {
  times.splice(indexAfter(times, atMs) - 1, 1);
}

/** The index of the first time that is later. */
function indexAfter(times: readonly number[], atMs: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] as number) <= atMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
