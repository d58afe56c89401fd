import { expect, test, vi } from 'vitest';
import { listener } from '../../../test/make/table.ts';
import { duringFlood } from '../../../test/netns/flood.ts';
import { echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { serviceKey } from '../../core/model/names.ts';

/*
 * One Service is attacked; another one on the same host is served all the same.
 */
const attacked = ['10.50.0.1', '10.50.0.2'].map((vip) =>
  listener(vip, 25, echoPort, { service: serviceKey('a', vip) }),
);
const other = listener('10.50.0.9', 80, namePort, { service: serviceKey('b', 'other') });

/** Opens this many connections, one after another, and keeps those that were accepted. Resolves with their ids. */
async function hold({ lab }: Rig, address: string, count: number): Promise<readonly number[]> {
  const held: number[] = [];
  for (let index = 0; index < count; index++) {
    const { id } = await lab.client.ask({ do: 'dial', address, port: 25 });
    if (id === undefined) continue;
    const heard = await vi.waitUntil(async () => {
      const { text, end } = await lab.client.ask({ do: 'heard', id });
      return text !== '' || end !== 'open' ? { text, end } : undefined;
    }, patience);
    if (heard.end === 'open') held.push(id);
  }
  return held;
}

/** The answers of `count` requests to the other Service, at most four at once. */
async function answers(rig: Rig, count: number): Promise<ReadonlySet<string | number | undefined>> {
  const outcomes = new Set<string | number | undefined>();
  for (let done = 0; done < count; done += 4) {
    const some = await Promise.all([0, 1, 2, 3].map(() => rig.fetch(other.address.text)));
    for (const { status, error } of some) outcomes.add(status ?? error);
  }
  return outcomes;
}

test('clients that send a byte now and then hold all that two Services may have: a third one is served, none of its connections is refused', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver({ descriptorLimit: 200 }); // 75 connections, 67 for the Services
  await proxy.upsert(rig.table([...attacked, other]), rig.signal);
  const first = await hold(rig, '10.50.0.1', 50);
  expect(first).toHaveLength(33);
  const second = await hold(rig, '10.50.0.2', 50);
  expect(second).toHaveLength(17);
  for (let turn = 0; turn < 3; turn++) {
    for (const id of [...first, ...second]) await rig.lab.client.ask({ do: 'say', id, text: '.' });
    expect(await answers(rig, 20)).toEqual(new Set([200]));
  }
  const counters = await proxy.counters(rig.signal);
  expect([...attacked, other].map(({ key }) => counters.get(key))).toMatchObject([
    { connections: 33, refused: 17 },
    { connections: 17, refused: 33 },
    { total: 60, refused: 0 },
  ]);
});

test('a flood of SYNs from addresses that never answer: another Service is served, none of its connections is refused or lost', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { balancer, client } = rig.lab;
  const { proxy } = rig.newDriver({ descriptorLimit: 1000 }); // 375 connections, and as many SYNs in the queue
  await proxy.upsert(rig.table([...attacked, other]), rig.signal);
  await balancer.exec('ip', 'route', 'add', 'default', 'via', '10.10.0.2');
  const sent = await duringFlood(client, { protocol: 'tcp', to: '10.50.0.1', port: 25, count: 100_000 }, async () =>
    expect(await answers(rig, 20)).toEqual(new Set([200])),
  );
  expect(sent).toBeGreaterThan(2_000);
  const counters = await proxy.counters(rig.signal);
  expect(counters.get(other.key)).toMatchObject({ refused: 0 });
  expect(counters.get(attacked[0]!.key)?.total ?? 0).toBe(0); // HAProxy sees no connection that is not open
  // The queue that all Services share was full of SYNs.
  const statistics = await balancer.exec('nstat', '-az', 'TcpExtSyncookiesSent');
  expect(Number(/TcpExtSyncookiesSent +(\d+)/.exec(statistics)?.[1])).toBeGreaterThan(0);
});
