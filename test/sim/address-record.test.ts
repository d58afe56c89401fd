import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Ledger } from '../../src/ports/ledger.ts';
import { makeFakeLedger } from '../make/fake-ledger.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { startController, startHost as startSimHost } from './controller-rig.ts';
import type { SimObject } from './kinds.ts';
import { shownCondition, shownIps } from './shown-status.ts';
import { fastClock } from './virtual-clock.ts';

/*
 * Addresses that are in a status and not in the record: the disk is full, another host or other addresses came in between.
 */

let server: SimApiServer;
const stack: AsyncDisposable[] = [];

beforeEach(async () => {
  server = await startSimApiServer({ seed: 1 });
  stack.push(server);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
});

afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** A host that ends with the test. */
const startHost: typeof startSimHost = (options) => {
  const host = startSimHost(options);
  stack.push(host);
  return host;
};

function wire(annotations: object = {}): SimObject {
  return {
    metadata: { name: 'a', namespace: 'default', annotations: { ...annotations } },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
    },
  };
}

const shownIp = (): string | undefined => shownIps(server, 'default/a')[0];
const reason = (): string | undefined => shownCondition(server, 'default/a', 'AddressAssigned')?.reason;
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 25_000, interval: 5 });

test('a full disk publishes no address that is not recorded; when there is room again every Service gets one', async () => {
  const host = startHost();
  const files = new Map<string, string>();
  let isFull = true;
  files.set = (path, text) => {
    if (isFull && path === '/ledger') throw new Error('ENOSPC');
    return Map.prototype.set.call(files, path, text) as typeof files;
  };
  server.put('Service', wire());
  const rig = await startController(server, host, { files, clock: fastClock(20) });
  stack.push(rig);
  await until(() => expect(reason()).toBe('NotRecorded'));
  expect(rig.log.filter(({ level }) => level === 'error')).toHaveLength(1);
  expect(shownIp()).toBeUndefined();
  expect(host.ports.held.proxy.size).toBe(0);
  isFull = false;
  await until(() => expect(shownIp()).toBe('192.0.2.8'));
});

test('a disk that hangs delays only what must be recorded: nodes change, and Services with recorded addresses', async () => {
  const host = startHost();
  const ledger = makeFakeLedger();
  const answer = Promise.withResolvers<void>();
  let isHanging = false;
  const hanging: Ledger = {
    ...ledger,
    commit: async (changes, signal) => {
      if (isHanging) await answer.promise;
      return await ledger.commit(changes, signal);
    },
  };
  server.put('Service', wire());
  const rig = await startController(server, host, { ledger: hanging, clock: fastClock(20) });
  stack.push(rig);
  await until(() => expect(shownIp()).toBe('192.0.2.8'));
  isHanging = true;
  const late = wire();
  server.put('Service', {
    ...late,
    metadata: { ...late.metadata, name: 'late' },
    spec: { ...late.spec, ports: [{ port: 81, protocol: 'TCP', nodePort: 30_081 }] },
  });
  await until(() => expect(shownCondition(server, 'default/late', 'AddressAssigned')?.reason).toBe('NotRecorded'));
  expect(rig.controller.recordingTrouble()).toBe('the disk of the state directory does not answer');
  server.put('Node', {
    metadata: { name: 'n2' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.12' }] },
  });
  await until(() => expect(rig.controller.plan()?.table.nodes.size).toBe(2));
  isHanging = false;
  answer.resolve();
  await until(() => expect(shownIps(server, 'default/late')).toEqual(['192.0.2.9']));
  expect(rig.controller.recordingTrouble()).toBeUndefined();
});

test('a full disk after the term of another host takes no Service the address that its status shows', async () => {
  const files = new Map<string, string>();
  const first = await startController(server, startHost(), { files });
  server.put('Service', wire());
  await until(() => expect(shownIp()).toBe('192.0.2.8'));
  await first[Symbol.asyncDispose]();
  const request = (annotations: object): void => {
    server.put('Service', { ...server.get('Service', 'default/a'), ...wire(annotations) });
  };
  const elsewhere = await startController(server, startHost(), { addresses: ['192.0.2.9'] });
  request({ 'furiwake.dev/addresses': '192.0.2.9' });
  await until(() => expect(shownIp()).toBe('192.0.2.9'));
  await elsewhere[Symbol.asyncDispose]();
  request({});
  let isFull = true;
  files.set = (path, text) => {
    if (isFull && path === '/ledger') throw new Error('ENOSPC');
    return Map.prototype.set.call(files, path, text) as typeof files;
  };
  let recorded: string | undefined;
  const term = {
    isFormerClassTaken: false,
    isLedgerCurrent: false,
    recorded: () => {
      recorded ??= files.get('/ledger');
    },
    published: () => undefined,
  };
  const host = startHost();
  const rig = await startController(server, host, { files, term, clock: fastClock(20) });
  stack.push(rig);
  await until(() => expect(rig.log.filter(({ level }) => level === 'error')).toHaveLength(1));
  await until(() => expect([...host.ports.held.placed.keys()]).toEqual(['192.0.2.9']));
  expect([recorded, shownIp()]).toEqual([undefined, '192.0.2.9']);
  isFull = false;
  await until(() => expect(recorded).toContain('"addresses":["192.0.2.9"]'));
  expect(shownIp()).toBe('192.0.2.9');
});

test.each([
  ['its Services stay as they are while another host serves the class of before', true, ['192.0.2.8']],
  ['its Services are released when no other host serves the class of before', false, []],
])('after a change of the class, %s', async (_, isFormerClassTaken, left) => {
  const files = new Map<string, string>();
  const first = await startController(server, startHost(), { files });
  server.put('Service', wire());
  await until(() => expect(shownIp()).toBe('192.0.2.8'));
  await first[Symbol.asyncDispose]();
  const { metadata, spec } = wire();
  const loadBalancerClass = 'example.com/other';
  server.put('Service', { metadata: { ...metadata, name: 'b' }, spec: { ...(spec as object), loadBalancerClass } });
  const host = startHost();
  const start = async (isTaken: boolean): Promise<void> => {
    const term = {
      isLedgerCurrent: false,
      isFormerClassTaken: isTaken,
      recorded: () => undefined,
      published: () => undefined,
    };
    const site = { loadBalancerClass, takesDefaultClass: false };
    const rig = await startController(server, host, { files, term, site, addresses: ['192.0.2.9'] });
    await until(() => expect(shownIps(server, 'default/b')).toEqual(['192.0.2.9']));
    await until(() => expect(shownIps(server, 'default/a')).toEqual(left));
    await rig[Symbol.asyncDispose]();
  };
  await start(isFormerClassTaken);
  await start(false); // the records are gone
  expect(server.get('Service', 'default/a')?.metadata.finalizers ?? []).toHaveLength(left.length * 2);
  expect([...host.ports.held.attracted]).toEqual(['192.0.2.9']);
});

test('a start with other addresses and without the record serves no address of another pool, and clears none', async () => {
  const host = startHost();
  const first = await startController(server, host, { addresses: ['192.0.2.8'] });
  server.put('Service', wire());
  await until(() => expect(shownIp()).toBe('192.0.2.8'));
  await first[Symbol.asyncDispose]();
  const other = startHost();
  const rig = await startController(server, other, { addresses: ['198.51.100.8'] });
  stack.push(rig);
  await until(() => expect(reason()).toBe('AddressNotInPool'));
  expect(shownIp()).toBe('192.0.2.8');
  expect(other.ports.held.proxy.size).toBe(0);
  expect(rig.log.filter(({ level }) => level === 'error')).toMatchObject([{ fields: { services: 1 } }]);
  expect(rig.log.filter(({ level, message }) => level === 'warn' || message === 'published')).toEqual([]);
  const events = [{ reason: 'AddressNotInPool', note: expect.stringContaining('with other --addresses') as string }];
  await until(() => expect(rig.events).toMatchObject(events));
});
