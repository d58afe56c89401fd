import { expect } from 'vitest';
import type { ListenerKey } from '../../src/core/model/names.ts';
import { makeSimApiServer, type SimApiServer } from './apiserver.ts';
import { type ControllerRig, type SimHost, startController, startHost } from './controller-rig.ts';
import { type VirtualClock, virtualClock } from './virtual-clock.ts';
import { shownIps } from './shown-status.ts';

/*
 * The real controller with the real agent, while something fails: a whole step of the host, one listener or address, a disk,
 * the writes to the API server. The Services `stays` and `goes` are served before. During the failure `goes` is deleted, and
 * `comes`, `odd` (if one Service is refused, this one) and `joins` (on the address of `stays`) are created.
 */
export type Scene = AsyncDisposable & {
  readonly clock: VirtualClock;
  readonly server: SimApiServer;
  readonly host: SimHost;
  readonly rig: ControllerRig;
  /** The state directories of the controller and of the host. */
  readonly files: { readonly controller: Map<string, string>; readonly host: Map<string, string> };
};

export const servicePorts = { stays: 80, goes: 81, comes: 82, odd: 83, joins: 84 };
export const staysAddress = '192.0.2.8';
export const oddAddress = '192.0.2.12';
export const staysKey = `${staysAddress}|${servicePorts.stays}|TCP` as ListenerKey;

export function putService(
  { server }: Scene,
  name: keyof typeof servicePorts,
  spec: { nodePort?: number; address?: string; protocol?: 'TCP' | 'UDP' } = {},
): void {
  const { nodePort = 30_000 + servicePorts[name], address, protocol = 'TCP' } = spec;
  const metadata = server.get('Service', `default/${name}`)?.metadata;
  server.put('Service', {
    metadata: { ...metadata, name, namespace: 'default' },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ports: [{ port: servicePorts[name], protocol, nodePort }],
      ...(address === undefined ? {} : { loadBalancerIP: address }),
    },
  });
}

export function shownIp({ server }: Scene, name: keyof typeof servicePorts): string | undefined {
  return shownIps(server, `default/${name}`)[0];
}

export async function start(): Promise<Scene> {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const files = { controller: new Map<string, string>(), host: new Map<string, string>() };
  const host = startHost({ clock, files: files.host });
  const addresses = [`${staysAddress}-192.0.2.10`, oddAddress];
  const rig = await startController(server, host, { clock, addresses, files: files.controller });
  const scene: Scene = {
    clock,
    server,
    host,
    rig,
    files,
    [Symbol.asyncDispose]: async () => {
      for (const each of [rig, host, server]) await clock.drive(Promise.resolve(each[Symbol.asyncDispose]()));
    },
  };
  for (const name of ['stays', 'goes'] as const) {
    putService(scene, name);
    await clock.advance(1_000);
    expect(shownIp(scene, name)).toBeDefined();
  }
  expect(shownIp(scene, 'stays')).toBe(staysAddress);
  return scene;
}

export function change(scene: Scene): void {
  putService(scene, 'comes');
  putService(scene, 'odd', { address: oddAddress });
  scene.server.remove('Service', 'default/goes');
  scene.host.ports.tellNetwork('addresses'); // an audit
}

/** The most of one step of the host, and of writes and of log lines (warnings, errors) for one Service. */
export type Counts = { readonly attempts: number; readonly writes: number; readonly lines: number };

/** What happens in each of the next minutes, in a cluster whose revision grows, as Leases of nodes let it. */
export async function watchMinutes({ clock, server, host, rig }: Scene, minutes: number): Promise<readonly Counts[]> {
  const seen: Counts[] = [];
  for (let minute = 0; minute < minutes; minute += 1) {
    const before = {
      steps: host.ports.steps.length,
      requests: server.requests.length,
      host: host.log.length,
      rig: rig.log.length,
    };
    server.put('Lease', { metadata: { namespace: 'kube-node-lease', name: 'n1' }, spec: { renewTime: clock.now() } });
    await clock.advance(60_000);
    const writes = server.requests.slice(before.requests).filter(({ verb }) => ['patch', 'apply'].includes(verb));
    const logged = [...rig.log.slice(before.rig), ...host.log.slice(before.host)];
    const lines = logged.filter(({ level }) => ['warn', 'error'].includes(level));
    seen.push({
      attempts: mostOfOne(host.ports.steps.slice(before.steps), (step) => step.split(' ', 1)[0]),
      writes: mostOfOne(writes, ({ path }) => /services\/(\w+)/.exec(path)?.[1]),
      lines: mostOfOne(lines, ({ fields }) => fields['service']),
    });
  }
  return seen;
}

function mostOfOne<T>(items: readonly T[], groupOf: (item: T) => unknown): number {
  return Math.max(0, ...Array.from(Map.groupBy(items, groupOf).values(), ({ length }) => length));
}
