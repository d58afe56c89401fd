import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { patience } from '../../test/netns/patience.ts';
import { type Exec, ExecError } from '../ports/exec.ts';
import { type NetworkEvent, watchNetwork } from './kernel-events.ts';

let lab: NetLab;

beforeAll(async () => {
  lab = await startNetLab({ nodes: 0 });
});
afterAll(() => lab[Symbol.asyncDispose]());

/** Runs `ip` on the host, as an administrator does by hand. */
const byHand = (command: string): Promise<string> => lab.balancer.exec('ip', ...command.split(' '));

/** The kind of an event, and its address if it has one. */
const textOf = (event: NetworkEvent): string => ('address' in event ? `${event.kind} ${event.address}` : event.kind);

type Watching = AsyncDisposable & {
  /** The events since the last `forget`. */
  readonly told: () => readonly string[];
  /** Forgets all events so far. */
  forget(): Promise<void>;
};

/** Watches the network of the host, and listens when it resolves. */
async function startWatching(): Promise<Watching> {
  const told: string[] = [];
  const stop = new AbortController();
  const watch = async (): Promise<void> => {
    for await (const event of watchNetwork(lab.balancer.execPort, stop.signal)) told.push(textOf(event));
  };
  const watching = watch();
  await expect.poll(() => told, patience).toContain('unsure');
  return {
    told: () => told,
    forget: async () => {
      await byHand('address add 192.0.2.254/32 dev lan'); // a mark in the stream of events
      await byHand('address delete 192.0.2.254/32 dev lan');
      await expect.poll(() => told, patience).toContain('removed 192.0.2.254');
      told.length = 0;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await watching; // rejects if the watch failed
    },
  };
}

test('the first event stands for all earlier changes', async () => {
  await using watching = await startWatching();
  expect(watching.told()[0]).toBe('unsure');
});

test.each([
  ['of IPv4', '10.10.0.77/24', '10.10.0.77'],
  ['of IPv6', 'fd10:0:0:0:0:0:0:77/64', 'fd10::77'],
  ['alone in its subnet', '192.0.2.77/32', '192.0.2.77'],
])('reports an address %s that is added or removed by hand', async (_, cidr, address) => {
  await using watching = await startWatching();
  await byHand(`address add ${cidr} dev wan`);
  await expect.poll(watching.told, patience).toContain(`added ${address}`);
  await byHand(`address delete ${cidr} dev wan`);
  await expect.poll(watching.told, patience).toContain(`removed ${address}`);
});

test('reports the host’s end of a point-to-point address, not that of the peer', async () => {
  await using watching = await startWatching();
  await byHand('address add 192.0.2.1 peer 192.0.2.2 dev wan');
  await expect.poll(watching.told, patience).toContain('added 192.0.2.1');
  await byHand('address delete 192.0.2.1 peer 192.0.2.2 dev wan');
  await expect.poll(watching.told, patience).toContain('removed 192.0.2.1');
  expect(watching.told()).not.toContainEqual(expect.stringContaining('192.0.2.2'));
});

test('reports when an interface is added, goes up or down, is renamed, or is removed with its addresses', async () => {
  await using watching = await startWatching();
  for (const command of ['add b1 type bridge', 'set b1 up', 'set b1 down', 'set b1 name b2']) {
    await watching.forget();
    await byHand(`link ${command}`);
    await expect.poll(watching.told, patience).toContain('link');
  }
  await byHand('address add 192.0.2.9/32 dev b2');
  await expect.poll(watching.told, patience).toContain('added 192.0.2.9');
  await watching.forget();
  await byHand('link delete b2');
  await expect.poll(watching.told, patience).toContain('removed 192.0.2.9');
  await expect.poll(watching.told, patience).toContainEqual(expect.stringMatching(/^link/));
});

test.each([['net.ipv4.ip_forward'], ['net.ipv4.conf.wan.forwarding'], ['net.ipv6.conf.all.forwarding']])(
  'reports when %s is switched',
  async (setting) => {
    const value = (await lab.balancer.exec('sysctl', '-n', setting)).trim();
    await using watching = await startWatching();
    for (const next of [value === '1' ? '0' : '1', value]) {
      await watching.forget();
      await lab.balancer.exec('sysctl', '-qw', `${setting}=${next}`);
      await expect.poll(watching.told, patience).toContain('forwarding');
    }
  },
);

test.each([
  ['IPv4', '-4', 'default via 10.10.0.2 dev wan'],
  ['IPv6', '-6', 'default via fd10::2 dev wan'],
])('reports when a default route of %s is added or removed', async (_, family, route) => {
  await using watching = await startWatching();
  await byHand(`${family} route add ${route}`);
  await expect.poll(watching.told, patience).toContain('route');
  await watching.forget();
  await byHand(`${family} route delete ${route}`);
  await expect.poll(watching.told, patience).toContain('route');
});

test('reports other routes, the last one as well, and of many only a few events: a router may have a million', async () => {
  await using watching = await startWatching();
  await byHand('route add 198.51.100.0/24 via 10.10.0.2 dev wan');
  await expect.poll(watching.told, patience).toContain('route');
  await watching.forget();
  const startedMs = performance.now();
  const batch = path.join(lab.folder, 'routes.ip');
  const routes = Array.from(
    { length: 1_000 },
    (_, index) => `route add 10.52.${index >> 8}.${index & 255} via 10.10.0.2 dev wan`,
  );
  const mark = 'address add 192.0.2.8/32 dev wan';
  await writeFile(batch, [...routes, mark, 'route add 10.52.9.9 via 10.10.0.2 dev wan', ''].join('\n'));
  await byHand(`-batch ${batch}`);
  await expect.poll(watching.told, patience).toContain('added 192.0.2.8');
  const marked = watching.told().indexOf('added 192.0.2.8');
  await expect.poll(() => watching.told().lastIndexOf('route'), patience).toBeGreaterThan(marked);
  const seconds = (performance.now() - startedMs) / 1000;
  expect(watching.told().filter((kind) => kind === 'route').length).toBeLessThan(3 + seconds);
  await byHand('address delete 192.0.2.8/32 dev wan');
  await byHand('route flush 10.52.0.0/16');
});

test('does not report the routes that the kernel adds with an address', async () => {
  await using watching = await startWatching();
  await byHand('address add fd77::8/64 dev wan nodad');
  await byHand('address delete fd77::8/64 dev wan');
  await expect.poll(watching.told, patience).toContain('removed fd77::8');
  expect(watching.told()).not.toContain('route');
});

test('reports each of a thousand addresses that are added at once', async () => {
  await using watching = await startWatching();
  const texts = Array.from({ length: 1_000 }, (_, index) => `10.51.${index >> 8}.${index & 255}`);
  const batch = path.join(lab.folder, 'addresses.ip');
  await writeFile(batch, texts.map((text) => `address add ${text}/32 dev wan\n`).join(''));
  await byHand(`-batch ${batch}`);
  const added = texts.map((text) => `added ${text}`);
  await expect.poll(watching.told, patience).toEqual(expect.arrayContaining(added));
});

test('throws the message of a listener that ends unexpectedly', async () => {
  const { execPort } = lab.balancer;
  const script = 'echo unsure; echo netlink: no buffer >&2; exit 3';
  const exec: Exec = { ...execPort, spawn: (_, _args, signal) => execPort.spawn('sh', ['-c', script], signal) };
  const told: string[] = [];
  const watch = async (): Promise<void> => {
    for await (const event of watchNetwork(exec, new AbortController().signal)) told.push(textOf(event));
  };
  await expect(watch()).rejects.toThrow(new ExecError('perl', 3, 'netlink: no buffer\n'));
  expect(told).toEqual(['unsure']);
});
