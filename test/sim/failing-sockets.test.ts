import { expect, test } from 'vitest';
import { makeSimApiServer, type SimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';
import { shownCondition, shownIps } from './shown-status.ts';
import { virtualClock } from './virtual-clock.ts';

/*
 * The pool is the host's own address, so that the sockets of the host count, and they cannot be read. `stays` and `goes` are
 * served before. Then `stays` gets another nodePort, `goes` is deleted, a node joins, and `comes` is created.
 */
const own = '192.0.2.51';

function putService(server: SimApiServer, name: string, port: number, nodePort = 30_000 + port): void {
  server.put('Service', {
    metadata: { ...server.get('Service', `default/${name}`)?.metadata, name, namespace: 'default' },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port, protocol: 'TCP', nodePort }] },
  });
}

function putNode(server: SimApiServer, name: string, address: string): void {
  server.put('Node', { metadata: { name }, status: { addresses: [{ type: 'InternalIP', address }] } });
}

test.each<[string, string | undefined, words: string]>([
  ['fails', 'netlink: no buffer space', 'netlink: no buffer space'],
  ['hangs', undefined, 'ss does not answer'],
])(
  'while the program that reads the sockets of the host %s, only new ports wait: they say so, all else changes',
  async (_, failure, words) => {
    const clock = virtualClock();
    const server = makeSimApiServer({ seed: 1, clock });
    await using stack = new AsyncDisposableStack();
    const driven = <T extends AsyncDisposable>(part: T): T => {
      stack.defer(() => clock.drive(Promise.resolve(part[Symbol.asyncDispose]())));
      return part;
    };
    driven(server);
    putNode(server, 'n1', '192.0.2.11');
    const host = driven(startHost({ clock }));
    const { ports } = host;
    ports.setOwn(own);
    const rig = driven(await startController(server, host, { clock, addresses: [], site: { handsOutOwn: true } }));
    putService(server, 'stays', 80);
    putService(server, 'goes', 81);
    await clock.advance(5_000);
    expect([...ports.held.proxy.keys()]).toEqual([`${own}|80|TCP`, `${own}|81|TCP`]);

    const end = Promise.withResolvers<void>();
    if (failure === undefined) ports.hanging.set('host.listening', end.promise);
    else ports.failing.set('host.listening', failure);
    putService(server, 'comes', 82);
    putService(server, 'stays', 80, 31_000);
    putNode(server, 'n2', '192.0.2.12');
    server.remove('Service', 'default/goes');
    await clock.advance(2_000);
    expect([...ports.held.proxy.values()].map(({ key, targetPort }) => [key, targetPort])).toEqual([
      [`${own}|80|TCP`, 31_000],
    ]);
    expect([...(host.tables.at(-1)?.nodes.keys() ?? [])]).toEqual(['n1', 'n2']);
    expect(server.get('Service', 'default/goes')).toBeUndefined();
    expect(shownCondition(server, 'default/comes', 'AddressAssigned')).toMatchObject({
      status: 'False',
      reason: 'PortInUseOnHost',
      message: expect.stringContaining(words),
    });

    const asked = (): number => ports.steps.filter((step) => step === 'host.listening').length;
    const [before, lines] = [asked(), rig.log.length];
    await clock.advance(600_000);
    expect(asked() - before).toBeLessThanOrEqual(30);
    const logged = rig.log.slice(lines).filter(({ level }) => level === 'warn' || level === 'error');
    expect(logged.length).toBeLessThanOrEqual(5);

    ports.failing.clear();
    ports.hanging.clear();
    end.resolve();
    await clock.advance(40_000);
    expect(shownIps(server, 'default/comes')).toEqual([own]);
    expect([...ports.held.proxy.keys()]).toContain(`${own}|82|TCP`);
  },
);

test('while a Service waits for a port of the host, the sockets are read every five seconds, not with each change of others', async () => {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  const host = startHost({ clock });
  const { ports } = host;
  ports.setOwn(own);
  const rig = await startController(server, host, { clock, addresses: [], site: { handsOutOwn: true } });
  putNode(server, 'n1', '192.0.2.11');
  putService(server, 'waits', 22);
  await clock.advance(4_000);
  expect(shownCondition(server, 'default/waits', 'AddressAssigned')?.reason).toBe('PortInUseOnHost');
  const read = (): number => ports.steps.filter((step) => step === 'host.listening').length;
  const [before, tables] = [read(), host.tables.length];
  for (let change = 0; change < 100; change++) {
    putNode(server, 'n1', `192.0.2.${100 + change}`);
    await clock.advance(200);
  }
  expect(host.tables.length - tables).toBeGreaterThanOrEqual(100);
  expect(read() - before).toBeLessThanOrEqual(5);
  for (const each of [rig, host, server]) await clock.drive(Promise.resolve(each[Symbol.asyncDispose]()));
});

test('a Service that was deleted while furiwake was stopped is released though the sockets cannot be read at the start', async () => {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  await using stack = new AsyncDisposableStack();
  const end = (part: AsyncDisposable): Promise<void> => clock.drive(Promise.resolve(part[Symbol.asyncDispose]()));
  stack.defer(() => end(server));
  const options = { clock, addresses: [], site: { handsOutOwn: true }, files: new Map<string, string>() };
  const before = startHost({ clock });
  before.ports.setOwn(own);
  const first = await startController(server, before, options);
  putNode(server, 'n1', '192.0.2.11');
  putService(server, 'goes', 81);
  await clock.advance(5_000);
  expect(shownIps(server, 'default/goes')).toEqual([own]);
  for (const each of [first, before]) await end(each);
  server.remove('Service', 'default/goes');

  const host = startHost({ clock });
  stack.defer(() => end(host));
  host.ports.setOwn(own);
  host.ports.failing.set('host.listening', 'netlink: no buffer space');
  const next = await startController(server, host, options);
  stack.defer(() => end(next));
  await clock.advance(5_000);
  expect(server.get('Service', 'default/goes')).toBeDefined();
  host.ports.failing.clear();
  await clock.advance(20_000);
  expect(server.get('Service', 'default/goes')).toBeUndefined();
});
