import fc from 'fast-check';
import { expect, test } from 'vitest';
import { changesThrough } from '../../../test/make/layout-changes.ts';
import { addressesOf, addressOf, natListener, node, nodeName, tableOf } from '../../../test/make/table.ts';
import { parseRange } from '../../core/ip/range.ts';
import type { BackendId } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { NodeHealth } from '../../core/traffic/report.ts';
import type { PodBackend } from '../../core/traffic/table.ts';
import { changeOf, differenceTo, emptyMirror } from '../nftables/mirror.ts';
import { noLists } from '../nftables/range-lists.ts';
import { natLayout } from './layout.ts';
import { makeNatPlanner, type NatProgram } from './program.ts';

const names = ['n1', 'n2', 'n3'];
const ranges = ['10.0.0.0/8', '192.0.2.0/24', '2001:db8::/32'].flatMap((text) => parseRange(text) ?? []);

const input = fc.record({
  /** Those of the program before. */
  hasSameListeners: fc.boolean(),
  listeners: fc.uniqueArray(
    fc.record({
      address: fc.constantFrom('203.0.113.1', '203.0.113.2', '2001:db8:f::1'),
      port: fc.integer({ min: 1, max: 3 }),
      protocol: fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
      targetPort: fc.integer({ min: 30_000, max: 30_002 }),
      service: fc.string(),
      isRestricted: fc.boolean(),
      isAffine: fc.boolean(),
      hasEndpoints: fc.boolean(),
      /** The numbers of its Pods, for the host itself; `undefined`: nodes serve it. */
      pods: fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 5 })), { nil: undefined }),
    }),
    { selector: ({ address, port, protocol }) => `${address} ${port} ${protocol}`, maxLength: 6 },
  ),
  verdicts: fc.dictionary(fc.constantFrom(...names), fc.constantFrom<NodeHealth>('up', 'silent')),
  drained: fc.subarray(names),
  /** A node that was registered again under another name has its former Node beside it for some time. */
  isTwice: fc.boolean(),
  own: fc.subarray(['10.1.1.1', '198.51.100.1', '2001:db8::1']),
  links: fc.subarray(['eth0', 'eth1']),
  hasIpv6: fc.boolean(),
  /** Another dataplane has the listeners on this port. */
  formerPort: fc.nat(4),
});

const ownOf = (each: { readonly address: string; readonly port: number; readonly protocol: string }): BackendId =>
  `own:${each.address}:${each.port}/${each.protocol}` as BackendId;

/** Programs that follow each other in one process. */
const programs = fc.array(input, { minLength: 1, maxLength: 5 }).map((all): readonly NatProgram[] => {
  const plan = makeNatPlanner();
  let listeners = all[0]?.listeners ?? [];
  return all.map((each) => {
    if (!each.hasSameListeners) ({ listeners } = each);
    const { verdicts, drained, isTwice, own, links, hasIpv6, formerPort } = each;
    const nodes = names.map((name, index) => ({
      ...node(name, ...['192.0.2.', '2001:db8::'].map((net) => `${net}${isTwice && index === 2 ? 12 : 11 + index}`)),
      state: drained.includes(name) ? ('drain' as const) : ('active' as const),
    }));
    const planned = tableOf(
      listeners.map(({ address, port, protocol, targetPort, service, isRestricted, isAffine, pods }) =>
        natListener(address, port, targetPort, {
          protocol,
          service: service as never,
          isAffine,
          ...(pods === undefined ? {} : { backend: ownOf({ address, port, protocol }) }),
          sourceRanges: isRestricted
            ? ranges.filter(({ family }) => (family === 6) === address.includes(':'))
            : undefined,
        }),
      ),
      nodes,
    );
    const podsOf = ({ pods = [], targetPort, ...where }: (typeof listeners)[number]): [BackendId, PodBackend] => {
      const net = where.address.includes(':') ? 'fd00::' : '10.244.0.';
      const server = { port: targetPort, node: nodeName('n1'), isDraining: false };
      const servers = pods.map((number) => ({ ...server, address: addressOf(`${net}${number}`) }));
      return [ownOf(where), { family: where.address.includes(':') ? 6 : 4, pods: servers }];
    };
    const table = { ...planned, pods: PersistentMap.from(listeners.map(podsOf)) };
    const { groups, keepers, hosted } = plan({
      table,
      verdicts: new Map(Object.entries(verdicts).map(([name, state]) => [name as never, { 4: state, 6: state }])),
      isLost: () => false,
    });
    return {
      listeners: table.listeners,
      former: new Set([...table.listeners].flatMap(([key, { port }]) => (port === formerPort ? key : []))),
      serverless: new Set([...table.listeners.keys()].filter((_, index) => listeners[index]?.hasEndpoints === false)),
      numberOf: (backend) => (backend === 'nodes4' ? 1 : 2),
      groups,
      keepers,
      hosted,
      hasHosted: hosted.size > 0,
      own: new Map(addressesOf(...own)),
      guard: { links, hasIpv6 },
    };
  });
});

test('changes lead from program to program, whatever is refused in between, and remove only existing elements', () => {
  fc.assert(
    fc.property(programs, fc.func(fc.boolean()), (all, accepts) => {
      for (const [found, expected] of changesThrough(natLayout, all, accepts)) expect(found).toEqual(expected);
    }),
    { numRuns: 50 },
  );
});

test('no program, whatever the names of its Services, renders anything but numbers, addresses, ranges and links', () => {
  fc.assert(
    fc.property(programs, (all) => {
      for (const target of all)
        for (const { text } of changeOf(noLists, differenceTo(natLayout, target, emptyMirror(natLayout)).parts).add)
          expect(text).toMatch(
            /^(?:"eth[01]"|ipv6|[0-9a-z:.-]+(?: [.:] [0-9a-z:.-]+)*(?: : jump (?:keep[46]for|pods[46]of)\d+)?)$/,
          );
    }),
    { numRuns: 50 },
  );
});

test('no program has two elements of one map with the same key: nft would refuse the listener', () => {
  fc.assert(
    fc.property(programs, (all) => {
      for (const target of all) {
        const elements = changeOf(noLists, differenceTo(natLayout, target, emptyMirror(natLayout)).parts).add;
        const keys = elements.map(({ set, text }) => `${set} ${text.split(' : ')[0]}`);
        expect(keys).toEqual([...new Set(keys)]);
      }
    }),
    { numRuns: 50 },
  );
});

test('a change of the own addresses concerns the listeners with source ranges', () => {
  const open = natListener('203.0.113.1', 53, 30_053);
  const restricted = natListener('203.0.113.2', 53, 30_053, { sourceRanges: ranges.slice(0, 1) });
  const before = { ...natLayout.empty, listeners: tableOf([open, restricted]).listeners };
  expect(natLayout.mayDiffer(before, { ...before, own: addressesOf('10.1.1.1') })).toEqual([restricted.key]);
});

test('a listener of another dataplane has no element', () => {
  const { listeners } = tableOf([natListener('203.0.113.1', 53, 30_053, { dataplane: 'haproxy' })]);
  const target = { ...natLayout.empty, listeners };
  expect(differenceTo(natLayout, target, emptyMirror(natLayout)).parts).toEqual([]);
});
