import { expect, test } from 'vitest';
import { type HaproxyMachine, makeHaproxyMachine } from '../make/haproxy-machine.ts';
import type { Reason } from '../../src/core/reasons.ts';
import { makeMachineRig } from '../make/haproxy-rig.ts';
import { makeHostPorts } from '../make/host-ports.ts';
import { makeSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';
import { shownCondition, shownIps } from './shown-status.ts';
import { virtualClock } from './virtual-clock.ts';

const frozenAnswer = 'HTTP/1.0 200 OK\r\n\r\n';

test.each<readonly [what: string, faults: Partial<HaproxyMachine['faults']>, reason: Reason]>([
  ['cannot be started', { start: 'no memory' }, 'HaproxyDown'],
  ['does not answer after its start', { isFrozen: true }, 'HaproxyDown'],
  ['exits at the first command', { diesAtCommand: true }, 'HaproxyDown'],
  ['hangs from the first command on', { freezesAtCommand: true }, 'HaproxyDown'],
  ['finds its port taken', { portHolder: 'nginx' }, 'HaproxyDown'],
  ['answers requests and no commands', { isFrozen: true, frozenAnswer }, 'HaproxyUnchanged'],
  ['answers only requests after its first command', { freezesAtCommand: true, frozenAnswer }, 'HaproxyUnchanged'],
  ['closes each command', { breaksAtCommand: true }, 'HaproxyDown'],
])(
  'a host takes over and its HAProxy %s: the address stays in the status, which says that it is not served',
  async (_, faults, reason) => {
    const clock = virtualClock();
    await using server = makeSimApiServer({ seed: 1, clock });
    server.put('Node', {
      metadata: { name: 'n1' },
      status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
    });
    const put = (name: string, port: number): void => {
      server.put('Service', {
        metadata: { name, namespace: 'default' },
        spec: {
          type: 'LoadBalancer',
          ipFamilies: ['IPv4'],
          ports: [{ port, protocol: 'TCP', nodePort: 30_000 + port }],
        },
      });
      server.put('EndpointSlice', {
        metadata: { name: `${name}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        ports: [{ name: '', protocol: 'TCP', port: 8080 }],
        endpoints: [{ addresses: [`10.244.1.${port}`], nodeName: 'n1', conditions: { ready: true } }],
      });
    };
    put('web', 80);
    /** One host after the other, for a minute each. */
    const serve = async (
      of: Partial<HaproxyMachine['faults']>,
      during = (): void => undefined,
    ): Promise<ReadonlySet<string>> => {
      const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
      Object.assign(machine.faults, of);
      const { proxy } = makeMachineRig({ clock, machine });
      const host = startHost({ clock, ports: Object.assign(makeHostPorts(clock), { proxy }) });
      const controller = await startController(server, host, { clock, addresses: ['192.0.2.8'] });
      during();
      const seen = new Set<string>();
      for (let second = 0; second < 60; second++) {
        await clock.advance(1_000);
        seen.add(shownIps(server, 'default/web').join() || 'none');
      }
      for (const each of [controller, host]) await clock.drive(Promise.resolve(each[Symbol.asyncDispose]()));
      return seen;
    };
    await serve({});
    expect(shownCondition(server, 'default/web', 'Serving')).toMatchObject({ status: 'True' });
    expect(await serve(faults, () => put('next', 81))).toEqual(new Set(['192.0.2.8']));
    expect(shownCondition(server, 'default/web', 'Serving')).toMatchObject({ reason, status: 'False' });
    expect(shownIps(server, 'default/next')).toEqual([]); // it was never served
    await serve({});
    expect(shownCondition(server, 'default/web', 'Serving')).toMatchObject({ status: 'True' });
    expect(shownIps(server, 'default/next')).toEqual(['192.0.2.8']);
  },
);
