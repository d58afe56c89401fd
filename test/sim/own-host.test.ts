import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type RigOptions, type SimHost, startController, startHost } from './controller-rig.ts';

/*
 * The controller with the real agent, while the load-balancer host itself changes: its addresses, what it needs, and the
 * programs that listen on it.
 */

type Shown = {
  readonly status?: {
    readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] };
    readonly conditions?: readonly { readonly type: string; readonly reason: string }[];
  };
};

const timeFactor = 20;
const handsOutOwn: RigOptions = { addresses: [], site: { handsOutOwn: true }, timeFactor };
let server: SimApiServer;
let host: SimHost;
const stack: AsyncDisposable[] = [];

beforeEach(async () => {
  server = await startSimApiServer({ seed: 1 });
  host = startHost({ timeFactor });
  stack.push(server, host);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
});

afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** Starts the controller, and makes a Service with this TCP port. */
async function serve(options: RigOptions, port = 80): Promise<void> {
  stack.push(await startController(server, host, options));
  server.put('Service', {
    metadata: { name: 'a', namespace: 'default' },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port, protocol: 'TCP', nodePort: 30_080 }] },
  });
}

const shown = (): Shown['status'] => (server.get('Service', 'default/a') as Shown | undefined)?.status;
const shownIps = (): readonly (string | undefined)[] => (shown()?.loadBalancer?.ingress ?? []).map(({ ip }) => ip);
const reason = (): string | undefined =>
  shown()?.conditions?.find(({ type }) => type === 'furiwake.dev/AddressAssigned')?.reason;
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

test('a Service follows the own address of the host when that changes', async () => {
  host.ports.setOwn('192.0.2.51');
  await serve(handsOutOwn);
  await until(() => expect(shownIps()).toEqual(['192.0.2.51']));
  host.ports.setOwn('192.0.2.61');
  host.ports.tellNetwork('addresses');
  await until(() => expect(shownIps()).toEqual(['192.0.2.61']));
  expect([...host.ports.held.placed.keys()]).toEqual([]);
});

test('a change of the own address counts although the host is being asked just then', async () => {
  host.ports.setOwn('192.0.2.51');
  let open = (): void => undefined;
  host.ports.gate = new Promise((resolve) => {
    open = resolve;
  });
  await serve(handsOutOwn);
  await until(() => expect(host.ports.steps).toContain('host.listening'));
  host.ports.setOwn('192.0.2.61');
  host.ports.setHealth(new Map()); // the host reports
  open();
  await until(() => expect(shownIps()).toEqual(['192.0.2.61']));
});

test('a Service leaves an address of the pool that the host needs by now', async () => {
  await serve({ addresses: ['192.0.2.8-192.0.2.9'], timeFactor });
  await until(() => expect(shownIps()).toEqual(['192.0.2.8']));
  host.ports.setNeeds(new Map([['192.0.2.8', 'default gateway of this host']]));
  host.ports.tellNetwork('addresses');
  await until(() => expect(shownIps()).toEqual(['192.0.2.9']));
  await until(() => expect([...host.ports.held.placed.keys()]).toEqual(['192.0.2.9']));
});

test('a Service waits for a port of an own address while a program listens on it, and gets it afterwards', async () => {
  host.ports.setOwn('192.0.2.51');
  host.ports.listening = [{ address: undefined, family: 4, port: 8_080 }];
  await serve(handsOutOwn, 8_080);
  await until(() => expect(reason()).toBe('PortInUseOnHost'));
  expect(shownIps()).toEqual([]);
  host.ports.listening = [];
  await until(() => expect(shownIps()).toEqual(['192.0.2.51']));
});
