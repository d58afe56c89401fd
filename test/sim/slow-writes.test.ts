import { expect, test } from 'vitest';
import { makeSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';
import { shownIps } from './shown-status.ts';
import { virtualClock } from './virtual-clock.ts';

test('writes to a hundred Services of a namespace that are never answered delay those of no other namespace', async () => {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  await using stack = new AsyncDisposableStack();
  const driven = <T extends AsyncDisposable>(part: T): T => {
    stack.defer(() => clock.drive(Promise.resolve(part[Symbol.asyncDispose]())));
    return part;
  };
  driven(server);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const host = driven(startHost({ clock }));
  driven(await startController(server, host, { clock, addresses: ['198.18.0.0/24'] }));
  const put = (namespace: string, name: string): void =>
    void server.put('Service', {
      metadata: { namespace, name },
      spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }] },
    });
  let isSlow = true;
  server.faults.next({
    mishap: 'hang',
    times: Number.POSITIVE_INFINITY,
    on: ({ path, verb }) => isSlow && path.includes('/slow/') && ['patch', 'apply'].includes(verb),
  });
  for (let index = 0; index < 100; index++) put('slow', `s${index}`);
  await clock.advance(10_000);
  put('default', 'web');
  await clock.advance(1_000);
  expect(shownIps(server, 'default/web')).toHaveLength(1);
  isSlow = false;
  await clock.advance(240_000);
  expect(shownIps(server, 'slow/s99')).toHaveLength(1);
});
