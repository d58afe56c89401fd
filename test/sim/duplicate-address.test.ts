import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { serviceKey } from '../../src/core/model/names.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type ControllerRig, type SimHost, startController, startHost } from './controller-rig.ts';
import { shownStatus } from './shown-status.ts';

/* Another machine on the LAN has the address of a Service: the controller with the real agent. */
const stack = new AsyncDisposableStack();
let server: SimApiServer;
let host: SimHost;
let rig: ControllerRig;

beforeAll(async () => {
  server = stack.use(await startSimApiServer({ seed: 1 }));
  host = stack.use(startHost());
  host.ports.setDuplicates(new Map([['192.0.2.16', '02:00:00:00:00:98']])); // found before this process plans
  rig = stack.use(await startController(server, host, { addresses: ['192.0.2.16-192.0.2.17'] }));
});
afterAll(() => stack.disposeAsync());

const notes = (name: string): readonly string[] =>
  rig.events
    .filter(({ regarding, reason }) => regarding.name === name && reason === 'DuplicateAddress')
    .map(({ type, note }) => `${type} ${note}`);
const expected = (address: string, mac: string): string =>
  `Warning ${address} is also in use by another machine on the LAN (MAC address ${mac}): remove it there, or request another address`;

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 25_000, interval: 5 });

test('each Service of the address gets one Warning, and another one for another machine', async () => {
  const put = (name: string, port: number, loadBalancerIP: string): unknown =>
    server.put('Service', {
      metadata: { name, namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        loadBalancerIP,
        ipFamilies: ['IPv4'],
        ports: [{ port, protocol: 'TCP', nodePort: 30_000 + port }],
      },
    });
  put('a', 80, '192.0.2.16');
  put('b', 81, '192.0.2.16');
  put('c', 80, '192.0.2.17');
  const first = expected('192.0.2.16', '02:00:00:00:00:98');
  await until(() => expect([notes('a'), notes('b')]).toEqual([[first], [first]]));

  // The controller has seen its own writes: nothing but the report of the host is new.
  await until(() => {
    for (const name of ['a', 'b', 'c']) {
      const { conditions } = shownStatus(server, `default/${name}`);
      expect(conditions).toBeDefined();
      expect(rig.controller.plan()?.services.get(serviceKey('default', name))?.status.conditions).toEqual(conditions);
    }
  });

  const second = expected('192.0.2.16', '02:00:00:00:00:99');
  host.ports.setDuplicates(
    new Map([
      ['192.0.2.16', '02:00:00:00:00:99'],
      ['192.0.2.17', '02:00:00:00:00:99'],
    ]),
  );
  await until(() => expect(notes('c')).toEqual([expected('192.0.2.17', '02:00:00:00:00:99')]));
  expect([notes('a'), notes('b')]).toEqual([
    [first, second],
    [first, second],
  ]);
});
