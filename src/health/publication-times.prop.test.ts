import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { GatedListener } from '../ports/gate.ts';
import type { ShownServed } from './kube-proxy-proof.ts';
import { isServed, makePublicationTimes } from './publication-times.ts';

const timeMs = fc.nat(6);
const anyListener: fc.Arbitrary<GatedListener> = fc.record({
  family: fc.constant(4 as const),
  publishedMs: fc.option(timeMs, { nil: undefined }),
  isFoundPublished: fc.boolean(),
  widened: fc.option(
    timeMs.map((atMs) => ({ atMs, before: new Set<never>() })),
    { nil: undefined },
  ),
});
const anyServed: fc.Arbitrary<ShownServed> = fc.record({
  hasRules: fc.boolean(),
  untilMs: fc.oneof(timeMs, fc.constant(Number.NEGATIVE_INFINITY)),
  foundUntilMs: fc.oneof(timeMs, fc.constant(Number.NEGATIVE_INFINITY)),
});
const later = (a: ShownServed, b: ShownServed): ShownServed => ({
  hasRules: a.hasRules || b.hasRules,
  untilMs: Math.max(a.untilMs, b.untilMs),
  foundUntilMs: Math.max(a.foundUntilMs, b.foundUntilMs),
});

/** A listener that all nodes serve since it was widened is like one that was found published then. */
function timesOf(listener: GatedListener): readonly GatedListener[] {
  const { widened } = listener;
  if (widened === undefined) return [listener];
  return [listener, { ...listener, publishedMs: widened.atMs, isFoundPublished: true }];
}

test('the times say what each listener says, whatever was added and removed', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ listener: anyListener, isRemoved: fc.boolean() }), { maxLength: 20 }),
      anyServed,
      anyServed,
      (entries, before, other) => {
        const times = makePublicationTimes();
        for (const { listener } of entries) times.add(listener);
        for (const { listener, isRemoved } of entries) if (isRemoved) times.remove(listener);
        const left = entries.filter(({ isRemoved }) => !isRemoved).flatMap(({ listener }) => timesOf(listener));
        const now = later(before, other);
        const isIn = (listener: GatedListener): boolean => isServed(listener, before);
        expect({
          hasUnpublished: times.hasUnpublished(),
          hasServed: times.hasServed(before),
          hasAwaited: times.hasAwaited(before),
          isMore: times.isMore(before, now),
        }).toEqual({
          hasUnpublished: left.some(({ publishedMs }) => publishedMs === undefined),
          hasServed: left.some(isIn),
          hasAwaited: left.some((listener) => listener.publishedMs !== undefined && !isIn(listener)),
          isMore: left.some((listener) => isServed(listener, now) && !isIn(listener)),
        });
      },
    ),
  );
});
