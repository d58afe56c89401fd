import { expect, test } from 'vitest';
import { type HaproxyMachine, makeHaproxyMachine } from '../make/haproxy-machine.ts';
import { makeMachineRig } from '../make/haproxy-rig.ts';
import { makeHostPorts } from '../make/host-ports.ts';
import { ranges } from '../make/service.ts';
import { makeSimApiServer, type SimApiServer } from './apiserver.ts';
import { type SimHost, startController, startHost } from './controller-rig.ts';
import { shownCondition, shownIps } from './shown-status.ts';
import { type VirtualClock, virtualClock } from './virtual-clock.ts';

/*
 * The real controller with the real agent and the real adapter of HAProxy, over a HAProxy in memory whose spare backends are
 * all in use: the next Service of the same kind, `late`, needs a reload. During a failure of that, `late` and the plain Service
 * `comes` are created and `goes` is deleted.
 */
const kinds = ['local', 'pods', 'profile'] as const;
type Kind = (typeof kinds)[number];
/** The number of backends that are spare at first. */
const spares: Readonly<Record<Kind, number>> = { local: 16, pods: 16, profile: 4 };

type Scene = AsyncDisposable & {
  readonly clock: VirtualClock;
  readonly server: SimApiServer;
  readonly host: SimHost;
  readonly machine: HaproxyMachine;
  /** Configurations that HAProxy was started with, or was asked to check. */
  readonly attempts: () => number;
};

async function start(kind: Kind): Promise<Scene> {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  for (let index = 0; index < spares[kind]; index++) put(server, `${kind}${index}`, 100 + index, kind);
  for (const [name, port] of [
    ['stays', 80],
    ['goes', 81],
  ] as const)
    put(server, name, port);
  const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
  let attempts = 0;
  const run: typeof machine.exec.run = (file, ...rest) => {
    if (file !== 'ss') attempts++;
    return machine.exec.run(file, ...rest);
  };
  const { proxy } = makeMachineRig({ clock, machine: { ...machine, exec: { ...machine.exec, run } } });
  const ports = Object.assign(makeHostPorts(clock), { proxy });
  ports.setRouted(ranges('10.244.0.0/16'));
  const host = startHost({ clock, ports });
  const controller = await startController(server, host, { clock, addresses: ['192.0.2.8'] });
  await clock.advance(5_000);
  expect(machine.held?.map.size).toBe(spares[kind] + 2);
  return {
    clock,
    server,
    host,
    machine,
    attempts: () => attempts,
    [Symbol.asyncDispose]: async () => {
      for (const each of [controller, host, server]) await clock.drive(Promise.resolve(each[Symbol.asyncDispose]()));
    },
  };
}

const annotations = {
  local: {},
  pods: { 'furiwake.dev/backends': 'pods' },
  profile: { 'furiwake.dev/balance': 'source' },
  plain: {},
};

function put(
  server: SimApiServer,
  name: string,
  port: number,
  kind: Kind | 'plain' = 'plain',
  protocol: 'TCP' | 'UDP' = 'TCP',
): void {
  server.put('Service', {
    metadata: { name, namespace: 'default', annotations: annotations[kind] },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ports: [{ name: 'main', port, protocol, nodePort: 30_000 + port }],
      ...(kind === 'local' ? { externalTrafficPolicy: 'Local', healthCheckNodePort: 31_000 + port } : {}),
    },
  });
  server.put('EndpointSlice', {
    metadata: { name: `${name}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'main', protocol, port: 8080 }],
    endpoints: [{ addresses: [`10.244.1.${port}`], nodeName: 'n1', conditions: { ready: true } }],
  });
}

/** The address of a Service and what its condition Serving says; `undefined`: it is gone. */
function shown({ server }: Scene, name: string): string | undefined {
  const key = `default/${name}`;
  if (server.get('Service', key) === undefined) return undefined;
  const [address = 'no address'] = shownIps(server, key);
  const { reason, message } = shownCondition(server, key, 'Serving') ?? {};
  return `${address}: ${reason} ${message}`;
}

const faults = [
  ['the disk is full', { isDiskFull: true }, 'ENOSPC'],
  ['HAProxy refuses the configuration', { config: () => 'out of memory' }, 'out of memory'],
] as const;

test.each(kinds.flatMap((kind) => faults.map((fault) => [kind, ...fault] as const)))(
  'no spare backend for another Service (%s), and %s: all other changes are made, and its own when that is over; one with a profile is served without',
  async (kind, _, fault, words) => {
    await using scene = await start(kind);
    const { clock, server, host, machine, attempts } = scene;
    Object.assign(machine.faults, fault);
    put(server, 'late', 200, kind);
    put(server, 'comes', 82);
    server.remove('Service', 'default/goes');
    await clock.advance(2_000);
    expect(shown(scene, 'comes')).toMatch(/^192\.0\.2\.8: Serving/);
    expect([shown(scene, 'goes'), shown(scene, 'stays')]).toEqual([
      undefined,
      expect.stringMatching(/^192.*: Serving/),
    ]);
    const isServed = kind === 'profile';
    const state = isServed ? String.raw`192\.0\.2\.8: SettingsWaiting` : 'no address: DataplaneError';
    expect(shown(scene, 'late')).toMatch(new RegExp(`^${state} .*${words}`));
    const [before, lines] = [attempts(), host.log.length];
    await clock.advance(10 * 60_000);
    expect(attempts() - before).toBeLessThan(80); // with an audit every half minute
    expect(host.log.length - lines).toBeLessThan(30);
    expect(machine.held?.map.size).toBe(spares[kind] + (isServed ? 3 : 2));

    Object.assign(machine.faults, { isDiskFull: false, config: () => undefined });
    await clock.advance(120_000);
    expect(shown(scene, 'late')).toMatch(/^192\.0\.2\.8: (?!SettingsWaiting)/);
    expect(machine.held?.map.size).toBe(spares[kind] + 3);
  },
);

test('while HAProxy cannot be started its Services say so and keep their addresses; those of nat are served', async () => {
  await using scene = await start('profile');
  const { clock, server, machine } = scene;
  put(server, 'dns', 53, 'plain', 'UDP');
  await clock.advance(5_000);
  Object.assign(machine.faults, { start: 'no memory' });
  machine.die();
  await clock.advance(3_000);
  expect(shown(scene, 'stays')).toMatch(/^192\.0\.2\.8: Serving/);
  await clock.advance(12_000);
  const down = shown(scene, 'stays');
  expect(down).toMatch(
    /^192\.0\.2\.8: HaproxyDown no connections to 192\.0\.2\.8, because HAProxy does not serve: .*no memory/,
  );
  expect(shownCondition(server, 'default/stays', 'Serving')?.status).toBe('False');
  expect(shown(scene, 'dns')).toMatch(/^192\.0\.2\.8: Serving/);
  await clock.advance(10 * 60_000);
  expect(shown(scene, 'stays')).toBe(down);

  machine.faults.start = undefined;
  await clock.advance(60_000);
  expect(shown(scene, 'stays')).toMatch(/^192\.0\.2\.8: Serving/);
});

test.each([
  ['it exits', { start: 'no memory' }, 'no memory'],
  ['another program has its port', { portHolder: 'nginx' }, 'nginx'],
] as const)(
  'while HAProxy cannot be started (%s) a deleted Service is released, and its port goes to the next one',
  async (_, fault, words) => {
    await using scene = await start('profile');
    const { clock, server, machine } = scene;
    Object.assign(machine.faults, fault);
    machine.die();
    await clock.advance(15_000);
    server.remove('Service', 'default/goes');
    await clock.advance(60_000);
    expect(shown(scene, 'goes')).toBeUndefined();
    put(server, 'next', 81);
    await clock.advance(60_000);
    expect(shown(scene, 'next')).toMatch(new RegExp(`^no address: HaproxyDown .*${words}`));

    Object.assign(machine.faults, { start: undefined, portHolder: undefined });
    await clock.advance(60_000);
    expect(shown(scene, 'next')).toMatch(/^192\.0\.2\.8: Serving/);
    expect(machine.held?.map.size).toBe(spares.profile + 2);
  },
);

test('a HAProxy that is started again with an old map file does not serve what was deleted meanwhile', async () => {
  await using scene = await start('profile');
  const { clock, server, machine } = scene;
  Object.assign(machine.faults, { start: 'no memory', isDiskFull: true });
  machine.die();
  await clock.advance(15_000);
  server.remove('Service', 'default/goes');
  await clock.advance(60_000);
  expect(shown(scene, 'goes')).toBeUndefined();
  machine.faults.start = undefined;
  while (machine.held === undefined) await clock.advance(10);
  expect(machine.held.map.size).toBe(spares.profile + 1);
});
