import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { untilAborted } from '../../src/async/abort.ts';
import { superviseAll } from '../../src/async/supervise-all.ts';
import type { Term } from '../../src/controller/controller.ts';
import { loadCandidates } from '../../src/daemon/candidates.ts';
import { type LeadershipDeps, leadAsHolder } from '../../src/daemon/leadership.ts';
import { loadTenureRecord } from '../../src/daemon/tenure-record.ts';
import { makeLease } from '../../src/kube/lease.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';
import { filesOf, makeHarness } from './harness.ts';
import { recordLog } from './observers.ts';
import { fastClock, seededRandom } from './virtual-clock.ts';
import { shownCondition, shownIps } from './shown-status.ts';

/*
 * Two load-balancer hosts, each with its own state directory, one after the other: Lease, controller and agent as the
 * program wires them.
 */

let server: SimApiServer;

beforeEach(async () => {
  server = await startSimApiServer({ seed: 1 });
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
});
afterEach(() => server[Symbol.asyncDispose]());

type Machine = { readonly name: string; readonly files: Map<string, string> };

/** A process on `machine`. `served`: the table of each moment at which it began to serve, or had begun at the start. */
async function startProcess({ name, files }: Machine): Promise<AsyncDisposable & { readonly served: string[] }> {
  const clock = fastClock(20);
  const log = recordLog();
  const identity = `${name}_1`;
  const host = startHost({ clock });
  const { client, ...harness } = await makeHarness(server, { clock, files: new Map() });
  const deps = { files: filesOf(files), clock, log };
  const candidates = await loadCandidates({ ...deps, path: '/candidates' });
  const tenures = await loadTenureRecord({
    ...deps,
    path: '/tenure',
    ledgerPath: '/ledger',
    leaseName: 'furiwake',
    identity,
    hostname: name,
  });
  const lease = makeLease({
    client,
    namespace: 'kube-system',
    name: 'furiwake',
    identity,
    mayBeServed: () => Promise.resolve(false),
    clock,
    random: seededRandom(1),
    log,
    onOther: (other) => candidates.add(other),
  });
  const stop = new AbortController();
  const served: string[] = [];
  const leadership: LeadershipDeps = {
    lease,
    shownLease: { namespace: 'kube-system', name: 'furiwake' },
    hasAddresses: () => true,
    isFormerClassTaken: false,
    loadBalancerClass: 'furiwake.dev/haproxy',
    identity,
    setServing: (isServing) => {
      if (isServing) served.push(tableOf(host));
    },
    keepAddressesUntil: () => undefined,
    setKeepers: () => undefined,
    setCutOff: () => undefined,
    hasOthers: () => candidates.hasOthers(),
    tenures,
    onLeaseLoss: 'withdraw',
    stopsTrafficOnExit: false,
    clock,
    log,
  };
  const serveTerm = async (term: Term, signal: AbortSignal): Promise<void> => {
    await using _rig = await startController(server, host, {
      files,
      clock,
      term,
      addresses: ['192.0.2.8-192.0.2.12'],
    });
    await untilAborted(signal);
  };
  const running = superviseAll(
    [
      (inner) => leadAsHolder(leadership, serveTerm, inner),
      (inner) => candidates.run(inner),
      (inner) => tenures.run(inner),
    ],
    stop.signal,
  );
  return {
    served,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      await host[Symbol.asyncDispose]();
      await harness[Symbol.asyncDispose]();
      await client.close();
    },
  };
}

/** `ADDRESS NAME` of the last published table. */
function tableOf({ tables }: Pick<ReturnType<typeof startHost>, 'tables'>): string {
  const listeners = [...(tables.at(-1)?.listeners.values() ?? [])];
  return listeners
    .map(({ address, service }) => `${address.text} ${service}`)
    .sort()
    .join();
}

/** Creates it, or changes the address that it requests. */
function putService(name: string, request?: string): void {
  const present = server.get('Service', `default/${name}`);
  server.put('Service', {
    ...present,
    metadata: {
      name,
      namespace: 'default',
      ...(present?.metadata.finalizers && { finalizers: present.metadata.finalizers }),
      ...(request === undefined ? {} : { annotations: { 'furiwake.dev/addresses': request } }),
    },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
    },
  });
}

const reasonOf = (name: string): string | undefined =>
  shownCondition(server, `default/${name}`, 'AddressAssigned')?.reason;
const shownIp = (name: string): string | undefined => shownIps(server, `default/${name}`)[0];
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

test('a host that returns keeps what another host decided meanwhile, and serves nothing before it knows it', async () => {
  const [lb1, lb2]: readonly Machine[] = ['lb1', 'lb2'].map((name) => ({ name, files: new Map<string, string>() }));
  if (lb1 === undefined || lb2 === undefined) throw new Error('unreachable');
  {
    await using _first = await startProcess(lb1);
    putService('p1');
    await until(() => expect(shownIp('p1')).toBe('192.0.2.8'));
  }
  {
    await using _second = await startProcess(lb2);
    putService('p1', '192.0.2.9');
    await until(() => expect(shownIp('p1')).toBe('192.0.2.9'));
    putService('p3');
    await until(() => expect(shownIp('p3')).toBe('192.0.2.8'));
    putService('p1');
  }
  await using back = await startProcess(lb1);
  putService('p4');
  await until(() => expect(shownIp('p4')).toBe('192.0.2.10'));
  expect([shownIp('p1'), shownIp('p3')]).toEqual(['192.0.2.9', '192.0.2.8']);
  expect(back.served[0]).toBe('192.0.2.8 default/p3,192.0.2.9 default/p1');
});

test('a term counts as recorded only when the whole first plan is in the ledger', async () => {
  const files = new Map<string, string>();
  let isFull = true;
  files.set = (path, text) => {
    if (isFull && path === '/ledger') throw new Error('ENOSPC');
    return Map.prototype.set.call(files, path, text) as typeof files;
  };
  const lb1: Machine = { name: 'lb1', files };
  putService('p1');
  await using process = await startProcess(lb1);
  await until(() => expect(process.served.length).toBeGreaterThan(0));
  await until(() => expect(reasonOf('p1')).toBe('NotRecorded'));
  expect(files.has('/tenure')).toBe(false);
  isFull = false;
  await until(() => expect(shownIp('p1')).toBe('192.0.2.8'));
  expect(files.get('/tenure')).toContain('"transitions":0');
});

test('a host that was not replaced trusts its ledger after a restart, and serves at once', async () => {
  const lb1: Machine = { name: 'lb1', files: new Map() };
  {
    await using _first = await startProcess(lb1);
    putService('p1');
    await until(() => expect(shownIp('p1')).toBe('192.0.2.8'));
  }
  server.put('Service', {
    ...server.get('Service', 'default/p1'),
    metadata: { name: 'p1', namespace: 'default' },
    status: { loadBalancer: { ingress: [{ ip: '192.0.2.9' }] } },
  });
  await using back = await startProcess(lb1);
  await until(() => expect(shownIp('p1')).toBe('192.0.2.8'));
  expect(back.served[0]).toBe('');
});
