import { test, vi } from 'vitest';
import type { StepName } from '../make/host-ports.ts';
import { startSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';
import type { SimObject } from './kinds.ts';
import { fastClock } from './virtual-clock.ts';

/*
 * The real controller with the real agent, while one port of the host fails for two minutes (at sixty times the speed of the
 * wall): no action repeats without growing waits, a lasting failure is logged once and then rarely, and the Services
 * are served when it ends.
 */
const timeFactor = 60;
const windowMs = 120_000;

const makeWire = (name: string, port: number): SimObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port, protocol: 'TCP', nodePort: 30_080 }] },
});

const steps: readonly StepName[] = [
  'proxy.upsert',
  'proxy.prune',
  'proxy.audit',
  'steering.apply',
  'steering.audit',
  'placement.add',
  'placement.remove',
  'placement.audit',
  'host.endConnections',
];
type Shown = {
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
};

let count = 0;
const failures: readonly (readonly [string, () => string])[] = [
  ['always with the same message', () => 'no'],
  ['with another message each time', () => `no, says process ${++count}`],
];

test.concurrent.for(steps.flatMap((step) => failures.map(([kind, words]) => [step, kind, words] as const)))(
  '%s fails, %s: attempts, writes and log lines are few, and it recovers',
  async ([step, , words], { expect }) => {
    await using server = await startSimApiServer({ seed: 1, timeFactor });
    server.put('Node', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'n1' },
      status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
    });
    await using host = startHost({ timeFactor });
    const addresses = ['192.0.2.8-192.0.2.12'];
    await using rig = await startController(server, host, { timeFactor, addresses });
    const shownIp = (name: string): string | undefined => {
      const service: Shown | undefined = server.get('Service', `default/${name}`);
      return service?.status?.loadBalancer?.ingress?.[0]?.ip;
    };
    const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 });

    server.put('Service', makeWire('stays', 80));
    server.put('Service', makeWire('goes', 81));
    await until(() => expect([shownIp('stays'), shownIp('goes')]).not.toContain(undefined));

    host.ports.failing.set(step, words);
    const before = { steps: host.ports.steps.length, requests: server.requests.length };
    server.put('Service', makeWire('comes', 82));
    server.remove('Service', 'default/goes');
    await fastClock(timeFactor).sleep(windowMs, new AbortController().signal);
    const attempts = host.ports.steps.slice(before.steps);
    const writes = server.requests
      .slice(before.requests)
      .filter(({ verb }) => ['patch', 'apply', 'put'].includes(verb));
    const lines = [...rig.log, ...host.log].filter(({ level }) => ['warn', 'error'].includes(level));

    expect(attempts.filter((one) => one === 'steering.apply').length).toBeLessThanOrEqual(12);
    expect(writes.length).toBeLessThanOrEqual(16);
    expect(lines.length).toBeLessThanOrEqual(12);
    expect(shownIp('stays')).toBeDefined();

    host.ports.failing.clear();
    await until(() => expect(shownIp('comes')).toBeDefined());
    await until(() => expect(server.get('Service', 'default/goes')).toBeUndefined());
  },
);
