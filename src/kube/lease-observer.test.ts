import { expect, test } from 'vitest';
import type { LeaseObject } from './lease-object.ts';
import { type LeaseObserver, makeLeaseObserver } from './lease-observer.ts';

/** A process of `box-1`, and a clock that the test moves. */
function makeScene({ hasOthers = false } = {}): {
  readonly observer: LeaseObserver;
  readonly at: (seconds: number, lease: LeaseObject | undefined) => void;
} {
  let nowMs = 0;
  const observer = makeLeaseObserver({
    identity: 'box-1',
    monotonic: () => nowMs,
    hasOthers: () => hasOthers,
    onOther: () => undefined,
  });
  return {
    observer,
    at: (seconds, lease) => {
      nowMs = seconds * 1000;
      observer.see(lease);
    },
  };
}

const held = (holderIdentity: string, { uid = 'a', renewTime = '1', leaseTransitions = 3 } = {}): LeaseObject => ({
  metadata: { name: 'furiwake', namespace: 'ns', uid },
  spec: { holderIdentity, leaseDurationSeconds: 15, acquireTime: '1', renewTime, leaseTransitions },
});

const released = (uid = 'a', leaseTransitions = 3): LeaseObject => {
  const { spec, ...rest } = held('', { uid, leaseTransitions });
  return { ...rest, spec: { ...spec, leaseDurationSeconds: 1 } };
};

const withCandidate = (lease: LeaseObject): LeaseObject => ({
  ...lease,
  metadata: { ...lease.metadata, annotations: { 'furiwake.dev/candidates': '{"box-2":"2026-01-01T00:00:00Z"}' } },
});

/** This process takes the Lease at 0 s. */
function claim({ observer, at }: ReturnType<typeof makeScene>, lease: LeaseObject): void {
  observer.willClaim('1');
  at(0, lease);
  observer.hasClaimed(0);
}

const emptied = held('');

test.each([
  ['does not begin again without a change', emptied, 15, 17],
  ['begins again when the Lease is deleted, too', undefined, 24, 26],
  ['begins again when it is written and emptied once more', held('', { renewTime: '2' }), 24, 26],
])('the wait for a Lease that was emptied by hand %s', (_, second, waitsAt, takesAt) => {
  const { observer, at } = makeScene();
  at(0, held('box-2'));
  for (const seconds of [1, 4, 7]) at(seconds, emptied);
  for (let seconds = 10; seconds <= waitsAt; seconds += 1) at(seconds, second);
  expect(observer.holder()?.kind).toBe('former');
  at(takesAt, second);
  expect(observer.holder()).toBeUndefined();
});

test.each([
  ['of 6 s, once', [1, 7, 13, 19], 21, 23],
  ['of 16 s, each time', [1, 17, 33], 47, 49],
])('the wait for a Lease that is gone begins again after a silence %s', (_, seenAt, waitsAt, takesAt) => {
  const { observer, at } = makeScene();
  at(0, held('box-2'));
  for (const seconds of seenAt) at(seconds, undefined);
  for (let seconds = (seenAt.at(-1) ?? 0) + 1; seconds <= waitsAt; seconds += 1) at(seconds, undefined);
  expect(observer.holder()?.kind).toBe('former');
  at(takesAt, undefined);
  expect(observer.holder()).toBeUndefined();
});

test('a process that has seen no holder takes any Lease that was released', () => {
  const { observer, at } = makeScene();
  at(0, undefined);
  observer.assumeFormer();
  expect(observer.holder()).toMatchObject({ kind: 'former', identity: '' });
  at(2, released());
  expect(observer.holder()).toBeUndefined();
});

test.each([
  ['by its holder', released(), undefined],
  ['by a later one', released('a', 4), undefined],
  ['before, as a backup has it', released('a', 2), 'former'],
  ['before it was created again, as a backup has it', released('b'), 'former'],
])(
  'a process that has seen the holder of a Lease that is gone, and then finds it released %s',
  (_, lease, expected) => {
    const { observer, at } = makeScene();
    at(0, held('box-2'));
    at(2, undefined);
    at(4, lease);
    expect(observer.holder()?.kind).toBe(expected);
  },
);

test.each([
  ['with another host known, waits, also if a backup has a released one', true, false, 'former'],
  ['with another host known to an earlier process, waits, too', false, true, 'former'],
  ['that has always been alone, takes it', false, false, undefined],
])('a holder that finds no Lease after a cut of 20 s, %s', (_, isCandidate, hasOthers, expected) => {
  const scene = makeScene({ hasOthers });
  const { observer, at } = scene;
  claim(scene, isCandidate ? withCandidate(held('box-1')) : held('box-1'));
  at(20, undefined);
  expect(observer.holder()?.kind).toBe(expected);
  at(21, released());
  expect(observer.holder()?.kind).toBe(expected);
});

test.each([
  ['no Lease', [undefined], true],
  ['a Lease that was emptied by hand', [emptied], true],
  ['a Lease that its holder has released', [released()], false],
  ['a holder', [held('box-2')], false],
  ['a Lease that is deleted after it has seen the holder', [held('box-2'), undefined], false],
  ['a Lease that is deleted after it was released', [released(), undefined], true],
])('a process that finds %s', (_, seen, isUnsure) => {
  const { observer, at } = makeScene();
  for (const [index, lease] of seen.entries()) at(index, lease);
  expect(observer.isUnsure()).toBe(isUnsure);
});

test('a process that has held the Lease does not ask who served before', () => {
  const scene = makeScene();
  claim(scene, held('box-1'));
  scene.at(5, undefined);
  expect(scene.observer.isUnsure()).toBe(false);
});

test('the last claim of this process is not its Lease any more when it has seen another holder since: a backup may have it', () => {
  const scene = makeScene();
  const { observer, at } = scene;
  claim(scene, held('box-1'));
  at(20, held('box-2', { renewTime: '2', leaseTransitions: 4 }));
  at(22, held('box-1'));
  expect(observer.holder()).toMatchObject({ kind: 'unknown', expiresInMs: 15_000 });
  for (let seconds = 24; seconds <= 38; seconds += 2) at(seconds, held('box-1')); // no other process renews it
  expect(observer.holder()?.expiresInMs).toBeLessThanOrEqual(0);
});

test.each([
  ['deleted', undefined],
  ['emptied', emptied],
])('a process that has taken the Lease from another host still holds it when it is %s by hand', (_, lease) => {
  const { observer, at } = makeScene();
  for (const seconds of [0, 4, 8, 12, 16]) at(seconds, held('box-2', { renewTime: '0' }));
  observer.willClaim('1');
  at(17, held('box-1', { leaseTransitions: 4 }));
  observer.hasClaimed(17_000);
  at(22, lease);
  expect(observer.holder()).toBeUndefined();
});
