import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type RigOptions, type SimHost, startController, startHost } from './controller-rig.ts';
import { fastClock } from './virtual-clock.ts';
import { shownCondition, shownIps } from './shown-status.ts';

/*
 * The controller with the real agent, while the load-balancer host itself changes: its addresses, what it needs, and the
 * programs that listen on it.
 */

const clock = fastClock(20);
const handsOutOwn: RigOptions = { addresses: [], site: { handsOutOwn: true }, clock };
let server: SimApiServer;
let host: SimHost;
const stack: AsyncDisposable[] = [];

beforeEach(async () => {
  server = await startSimApiServer({ seed: 1 });
  host = startHost({ clock });
  stack.push(server, host);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
});

afterEach(async () => {
  for (const each of stack.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** Starts the controller, and makes the Service `a` with this TCP port. */
async function serve(options: RigOptions, port = 80): Promise<void> {
  stack.push(await startController(server, host, options));
  put('a', port);
}

function put(name: string, port: number): void {
  server.put('Service', {
    metadata: { name, namespace: 'default' },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port, protocol: 'TCP', nodePort: 30_000 + port }] },
  });
}

const ips = (): readonly string[] => shownIps(server, 'default/a');
const conditionOf = (type: 'AddressAssigned' | 'Serving', name = 'a'): ReturnType<typeof shownCondition> =>
  shownCondition(server, `default/${name}`, type);
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

test('a Service follows the own address of the host when that changes', async () => {
  host.ports.setOwn('192.0.2.51');
  await serve(handsOutOwn);
  await until(() => expect(ips()).toEqual(['192.0.2.51']));
  host.ports.setOwn('192.0.2.61');
  host.ports.tellNetwork('addresses');
  await until(() => expect(ips()).toEqual(['192.0.2.61']));
  expect([...host.ports.held.placed.keys()]).toEqual([]);
});

describe('a Service keeps the own address of the host, and its connections,', () => {
  const [address, port] = ['192.0.2.51', 80];
  let options: RigOptions;
  const planWith = async (steps: () => void): Promise<void> => {
    steps();
    host.ports.tellNetwork('addresses');
    const audits = (): number => host.ports.steps.filter((step) => step === 'placement.audit').length;
    const before = audits();
    await until(() => expect(audits()).toBeGreaterThan(before));
    // Any other Service: the controller has planned with the addresses that the host has by now.
    put(`after-${before}`, 8_000 + before);
    await until(() => expect(conditionOf('AddressAssigned', `after-${before}`)).toBeDefined());
  };

  const begin = async (): Promise<void> => {
    host.ports.setOwn(address);
    options = { ...handsOutOwn, files: new Map() };
    await serve(options, port);
    await until(() => expect(ips()).toEqual([address]));
    await until(() => expect(conditionOf('AddressAssigned')?.status).toBe('True'));
    host.ports.steps.length = 0;
  };
  const expectKept = (): void => {
    expect(ips()).toEqual([address]);
    expect(conditionOf('AddressAssigned')).toMatchObject({ status: 'True', reason: 'Assigned' });
    expect(host.ports.steps.filter((step) => step.startsWith('end'))).toEqual([]);
    expect([...host.ports.held.proxy.keys()]).toContain(`${address}|${port}|TCP`);
    expect([...host.ports.held.placed.keys()]).toEqual([]);
  };

  test('when the address is lost and restored, and says so meanwhile', async () => {
    await begin();
    await planWith(() => host.ports.setOwn());
    await until(() => expect(conditionOf('Serving')).toMatchObject({ status: 'False', reason: 'AddressNotOnHost' }));
    expect(conditionOf('Serving')?.message).toContain(`${address} is no longer an address of this host`);
    expectKept();
    await planWith(() => host.ports.setOwn(address));
    await until(() => expect(conditionOf('Serving')?.reason).not.toBe('AddressNotOnHost'));
    expectKept();
  });

  test('when the default route is lost and restored', async () => {
    await begin();
    await planWith(() => host.ports.loseDefaultRoute());
    expect(conditionOf('Serving')?.reason).not.toBe('AddressNotOnHost');
    expectKept();
    await planWith(() => host.ports.setOwn(address));
    expectKept();
  });

  test('when furiwake starts without the address', async () => {
    await begin();
    for (const each of stack.splice(1).toReversed()) await each[Symbol.asyncDispose](); // all but the API server
    host = startHost({ clock });
    stack.push(host);
    stack.push(await startController(server, host, options));
    await planWith(() => undefined);
    expect(conditionOf('Serving')?.reason).toBe('AddressNotOnHost');
    expectKept();
  });
});

test('a Service follows the own address of the host to another one, however long it had none', async () => {
  host.ports.setOwn('192.0.2.51');
  await serve(handsOutOwn);
  await until(() => expect(ips()).toEqual(['192.0.2.51']));
  host.ports.setOwn();
  host.ports.tellNetwork('addresses');
  await until(() => expect(conditionOf('Serving')?.reason).toBe('AddressNotOnHost'));
  host.ports.setOwn('192.0.2.61');
  host.ports.tellNetwork('addresses');
  await until(() => expect(ips()).toEqual(['192.0.2.61']));
  expect([...host.ports.held.placed.keys()]).toEqual([]);
});

describe('after a start with a pool that does not have the own address of the host', () => {
  /** Served on 192.0.2.51 without `--addresses`; then furiwake starts with them, on a host with this address of its own. */
  const restartWithPool = async (own: string): Promise<void> => {
    const files = new Map();
    host.ports.setOwn('192.0.2.51');
    await serve({ ...handsOutOwn, files });
    await until(() => expect(ips()).toEqual(['192.0.2.51']));
    await until(() => expect(conditionOf('AddressAssigned')?.status).toBe('True'));
    for (const each of stack.splice(1).toReversed()) await each[Symbol.asyncDispose](); // all but the API server
    host = startHost({ clock });
    stack.push(host);
    host.ports.setOwn(own);
    stack.push(await startController(server, host, { addresses: ['192.0.2.200-192.0.2.209'], files, clock }));
    put('b', 81);
    await until(() => expect(shownIps(server, 'default/b')).toEqual(['192.0.2.200']));
  };

  test('that address is not added when the host has another one by now', async () => {
    await restartWithPool('192.0.2.61');
    await until(() => expect(conditionOf('Serving')?.reason).toBe('AddressNotOnHost'));
    expect(ips()).toEqual(['192.0.2.51']);
    expect([...host.ports.held.placed.keys()]).toEqual(['192.0.2.200']);
  });

  test('that address is not added when the host loses it later', async () => {
    await restartWithPool('192.0.2.51');
    host.ports.setOwn('192.0.2.61');
    host.ports.tellNetwork('addresses');
    await until(() => expect(conditionOf('Serving')?.reason).toBe('AddressNotOnHost'));
    expect([...host.ports.held.placed.keys()]).toEqual(['192.0.2.200']);
  });
});

test('a Service without an address waits for one while the host has none', async () => {
  await serve(handsOutOwn);
  await until(() => expect(conditionOf('AddressAssigned')?.message).toContain('no IPv4 address on the interface'));
  host.ports.setOwn('192.0.2.51');
  host.ports.tellNetwork('addresses');
  await until(() => expect(ips()).toEqual(['192.0.2.51']));
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
  await until(() => expect(ips()).toEqual(['192.0.2.61']));
});

test('a Service leaves an address of the pool that the host needs by now', async () => {
  await serve({ addresses: ['192.0.2.8-192.0.2.9'], clock });
  await until(() => expect(ips()).toEqual(['192.0.2.8']));
  host.ports.setNeeds(new Map([['192.0.2.8', 'default gateway of this host']]));
  host.ports.tellNetwork('addresses');
  await until(() => expect(ips()).toEqual(['192.0.2.9']));
  await until(() => expect([...host.ports.held.placed.keys()]).toEqual(['192.0.2.9']));
});

test('a Service waits for a port of an own address while a program listens on it, and gets it afterwards', async () => {
  host.ports.setOwn('192.0.2.51');
  host.ports.listening = [{ protocol: 'TCP', address: undefined, family: 4, port: 8_080 }];
  await serve(handsOutOwn, 8_080);
  await until(() => expect(conditionOf('AddressAssigned')?.reason).toBe('PortInUseOnHost'));
  expect(ips()).toEqual([]);
  host.ports.listening = [];
  await until(() => expect(ips()).toEqual(['192.0.2.51']));
});
