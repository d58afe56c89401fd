import { expect, test } from 'vitest';
import { clusterTroubles } from './readiness.ts';

const every = {
  4: { words: 'every node is drained: n1', hasNodes: true },
  6: { words: 'no node has an IPv6 address', hasNodes: false },
};

const noLease = {
  isHolder: () => false,
  holder: () => undefined,
  trouble: () => undefined,
  hostsWithAddresses: () => [],
};

/** Of a host that has read all it needs, and holds no Lease, except for what is given. */
const troublesOf = (given: Partial<Parameters<typeof clusterTroubles>[0]>): readonly string[] =>
  clusterTroubles({
    connecting: undefined,
    lease: noLease,
    shownLease: { namespace: 'ns', name: 'furiwake' },
    identity: 'lb0_a-b',
    mayServeWithoutLease: true,
    isAnsweredElsewhere: false,
    parts: undefined,
    ...given,
  });

test.each([
  ['holds the Lease and knows everything', true, undefined, true, { 4: undefined, 6: every[6] }, []],
  [
    'waits for the Lease',
    false,
    undefined,
    true,
    { 4: undefined, 6: undefined },
    ['the Lease ns/furiwake is not held'],
  ],
  ['cannot read the Lease', false, 'forbidden', true, { 4: undefined, 6: undefined }, ['forbidden']],
  ['does not know the Services yet', true, undefined, false, undefined, ['Services and Nodes are not known yet']],
  ['has nodes of one family', true, undefined, true, { 4: every[4], 6: undefined }, []],
  ['has no node', true, undefined, true, every, ['no node takes connections: every node is drained: n1']],
] as const)(
  'a host that %s is not ready for these reasons',
  (_, isHolder, trouble, isSynced, nodeTrouble, expected) => {
    const parts = {
      stores: { services: { isSynced }, nodes: { isSynced: true }, unseen: () => [] },
      controller: { plan: () => nodeTrouble && { nodeTrouble }, recordingTrouble: () => undefined },
    };
    const lease = { ...noLease, isHolder: () => isHolder, trouble: () => trouble };
    expect(troublesOf({ lease, parts })).toEqual(expected);
  },
);

test('until the API server has answered, that is the only reason', () => {
  const connecting = 'the API server https://192.0.2.2:6443 does not answer: timeout';
  expect(troublesOf({ connecting })).toEqual([connecting]);
});

test('a host whose ledger cannot be written is not ready', () => {
  const parts = {
    stores: { services: { isSynced: true }, nodes: { isSynced: true }, unseen: () => [] },
    controller: { plan: () => undefined, recordingTrouble: () => 'ENOSPC' },
  };
  const lease = { ...noLease, isHolder: () => true };
  expect(troublesOf({ lease, parts })).toEqual(['addresses cannot be recorded: ENOSPC']);
});

const withoutLease = (trouble: string | undefined): readonly string[] =>
  troublesOf({
    lease: {
      ...noLease,
      holder: () => ({ identity: 'lb1_a-b', kind: 'other', expiresInMs: 9_000 }),
      trouble: () => trouble,
    },
    mayServeWithoutLease: false,
  });

test('a host that waits names the holder, and one that cannot read the Lease says that it has withdrawn', () => {
  const unknown = 'Services and Nodes are not known yet';
  expect(withoutLease(undefined)).toEqual(['waiting: host lb1 holds the Lease ns/furiwake', unknown]);
  expect(withoutLease('timeout')).toEqual([
    'timeout',
    'this host has withdrawn its addresses: another host may hold the Lease',
    unknown,
  ]);
});

test('a host whose identity another process uses says so, as long as that holds the Lease', () => {
  const lease = { ...noLease, holder: () => ({ identity: 'lb1_a-b', kind: 'namesake', expiresInMs: 9_000 }) as const };
  expect(troublesOf({ lease, mayServeWithoutLease: false })[0]).toBe(
    'waiting: another process with the identity of this host holds the Lease ns/furiwake',
  );
});

test('a holder is not ready while the Lease says that another host keeps its addresses, and a machine answers for them', () => {
  const lease = { ...noLease, isHolder: () => true, hostsWithAddresses: () => ['lb1_a-b'] };
  const words = (isAnsweredElsewhere: boolean): readonly string[] => troublesOf({ lease, isAnsweredElsewhere });
  const advice = expect.stringContaining('run furiwake cleanup on lb1,');
  expect(words(true)).toContainEqual(advice);
  expect(words(false)).not.toContainEqual(advice); // it was switched off
});

test('a host that holds the Lease and does not see changes is not ready; without the API server that is the reason', () => {
  const words = 'changes of EndpointSlices are not seen: forbidden';
  const parts = {
    stores: { services: { isSynced: true }, nodes: { isSynced: true }, unseen: () => [words] },
    controller: { plan: () => undefined, recordingTrouble: () => undefined },
  };
  const lease = { ...noLease, isHolder: () => true };
  expect(troublesOf({ lease, parts })).toEqual([words]);
  expect(troublesOf({ lease: { ...lease, trouble: () => 'connection refused' }, parts })).toEqual([]);
});
