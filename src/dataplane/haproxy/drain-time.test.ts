import { expect, test } from 'vitest';
import { makeMachineRig, type MachineRig } from '../../../test/make/haproxy-rig.ts';
import { type SomeOptions, withOptions } from '../../../test/make/options.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';
import type { Listener, TrafficNode } from '../../core/traffic/table.ts';
import { RuntimeError } from './runtime/client.ts';

const [n1, n2] = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
const [both, without] = [[n1, n2], [n2]];
const draining: readonly TrafficNode[] = [{ ...n1, state: 'drain' }, n2];
const mail = (server: SomeOptions['server'] & object, profile: SomeOptions['profile'] & object = {}): Listener =>
  withOptions('192.0.2.52', 25, 30_025, { server, profile });
const limited = mail({ drainMs: 5000 });
const reloading = withOptions('192.0.2.53', 80, 30_081, { profile: { serverTimeoutMs: 61_000 } });

type Connected = MachineRig &
  AsyncDisposable & {
    put(listeners: readonly Listener[], nodes: readonly TrafficNode[]): Promise<void>;
    /** Since the connection began. */
    nowMs(): number;
    /** When the connection was ended. */
    endMs(): number | undefined;
  };

/** A connection through n1 to the port with a limit, on the worker that serves. */
async function connected(): Promise<Connected> {
  const rig = makeMachineRig();
  const { clock, machine, proxy } = rig;
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  const put: Connected['put'] = async (listeners, nodes) => {
    const table = tableOf([listener('192.0.2.51', 80, 30_080), ...listeners], nodes);
    await Promise.all([proxy.upsert(table, stop.signal), clock.advance(100)]);
    await Promise.all([proxy.prune(table, stop.signal), clock.advance(100)]);
  };
  await put([limited], both); // before the first round
  const [startMs, pid] = [clock.monotonic(), machine.held?.pid];
  const server = [...(machine.held?.servers.keys() ?? [])].find((id) => id.includes('/n1:30025:')) ?? '';
  let endMs: number | undefined;
  const nowMs = (): number => clock.monotonic() - startMs;
  const end = (): void => void (endMs ??= nowMs());
  machine.faults.keepsOldWorkers = true;
  machine.faults.command = (command) => {
    if (endMs !== undefined || machine.held?.pid !== pid || !command.endsWith(server)) return undefined;
    if (command.startsWith('shutdown sessions server ')) end();
    return command.startsWith('del server ')
      ? 'Server still has connections attached to it, cannot remove it.'
      : undefined;
  };
  machine.faults.oldWorker = (command) => {
    if (endMs !== undefined) return undefined;
    if (command === `@!${pid} shutdown session 0x1`) end();
    const line = `0x1: proto=tcpv4 src=192.0.2.9:5 fe=services be=${server.replace('/', ' srv=')} ts=00 epoch=0\n`;
    return command === `@!${pid} show sess` ? line : undefined;
  };
  return {
    ...rig,
    put,
    nowMs,
    endMs: () => endMs,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

const tables = {
  removed: [[limited], without],
  reloaded: [[limited, reloading], both],
  last: [[limited, reloading], without],
} as const;

test.each([
  ['before', ['removed', 'last']],
  ['after', ['reloaded', 'last']],
  ['together with', ['last']],
] as const)('the connections to a node that was removed %s a reload end after the drain time', async (_, steps) => {
  await using scene = await connected();
  let usedMs = 0;
  for (const step of steps) {
    const [listeners, nodes] = tables[step];
    if (nodes === both) usedMs = scene.nowMs() + 1500;
    await scene.put(listeners, nodes);
    await scene.clock.advance(1500);
  }
  expect(scene.machine.oldWorkers).toHaveLength(1);
  await scene.clock.advance(10_000);
  expect(scene.endMs()).toBeGreaterThanOrEqual(usedMs + 5000);
  expect(scene.endMs()).toBeLessThanOrEqual(usedMs + 7000);
});

test.each([
  ['the PROXY protocol', mail({ drainMs: 5000, proxyProtocol: 1 }), 5000],
  ['the most connections of a server', mail({ drainMs: 5000, mostConnections: 50 }), 5000],
  ['the drain time', mail({ drainMs: 20_000 }), 20_000],
  ['the profile', mail({ drainMs: 5000 }, { mode: 'http' }), 5000],
  ['the profile, with a reload', mail({ drainMs: 5000 }, { serverTimeoutMs: 61_000 }), 5000],
  ['the drain time to none', mail({ proxyProtocol: 1 }), Infinity],
  ['all settings to none', mail({}), Infinity],
] as const)(
  'a change of %s ends no connection; when its node drains later, the limit of then counts',
  async (_, after, limitMs) => {
    await using scene = await connected();
    await scene.put([after], both);
    await scene.clock.advance(60_000);
    expect(scene.endMs()).toBeUndefined();
    const drainMs = scene.nowMs();
    await scene.put([after], draining);
    await scene.clock.advance(60_000);
    const tookMs = (scene.endMs() ?? Infinity) - drainMs;
    expect(tookMs).toBeGreaterThanOrEqual(limitMs);
    expect(tookMs).toBeLessThanOrEqual(limitMs + 2000);
  },
);

test.each([
  [
    'the master',
    ({ machine: { faults } }: Connected): (() => void) => {
      faults.isMasterStarting = true;
      return () => (faults.isMasterStarting = false);
    },
  ],
  [
    'the worker',
    ({ machine: { faults } }: Connected): (() => void) => {
      const { oldWorker } = faults;
      faults.oldWorker = () => {
        throw new RuntimeError('silent', 'no answer within 3 s');
      };
      return () => (faults.oldWorker = oldWorker);
    },
  ],
])('while %s does not answer, the connections on a worker that was replaced are not forgotten', async (_, fail) => {
  await using scene = await connected();
  await scene.put([limited, reloading], both);
  await scene.clock.advance(2000);
  await scene.put([limited, reloading], without);
  const heal = fail(scene);
  await scene.clock.advance(12_000);
  expect(scene.endMs()).toBeUndefined();
  heal();
  await scene.clock.advance(7000);
  expect(scene.endMs()).toBeDefined();
});

test('a node that is used again while its time ends keeps its connections', async () => {
  await using scene = await connected();
  const {
    clock,
    machine: { faults },
  } = scene;
  await clock.advance(1500 - (clock.monotonic() % 1000));
  await scene.put([limited], draining); // the round of the next second sees it
  const check = Promise.withResolvers<void>();
  await clock.advance(4900);
  faults.slowCheck = check.promise;
  const used = scene.put([limited], both);
  await clock.advance(3000);
  check.resolve();
  await Promise.all([used, clock.advance(20_000)]);
  expect(scene.endMs()).toBeUndefined();
});

test('a node that is used again while old workers are asked keeps its connections', async () => {
  await using scene = await connected();
  const { clock, machine } = scene;
  await scene.put([limited, reloading], both);
  await clock.advance(2000);
  await scene.put([limited, reloading], draining);
  const { oldWorker } = machine.faults;
  const [asked, used] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  machine.faults.oldWorker = async (command) => {
    if (command.endsWith('show sess')) {
      asked.resolve();
      await used.promise;
    }
    return (await oldWorker(command)) ?? '';
  };
  await Promise.all([asked.promise, clock.advance(10_000)]);
  await scene.put([limited, reloading], both);
  used.resolve();
  await clock.advance(10_000);
  expect(scene.endMs()).toBeUndefined();
});
