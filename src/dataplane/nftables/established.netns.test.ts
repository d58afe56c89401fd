import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { patience } from '../../../test/netns/patience.ts';
import { ours, proxyPort, type SteeringRig, tableOf, targetOf, useSteering } from '../../../test/netns/steering-rig.ts';
import { addressesOf } from '../../../test/make/table.ts';
import { closed } from '../../agent/withdrawn.ts';
import type { Steering } from '../../ports/steering.ts';

/*
 * Established connections: the real kernel, the real nft, a real HAProxy.
 */
const { signal } = new AbortController();
let rig: SteeringRig;
let steering: Steering;

useSteering({ nodes: 1 }, (scene) => {
  ({ rig, steering } = scene);
});

describe('a host that is withdrawn', () => {
  const families = ['10.50.0.1', 'fd50::1'] as const;
  const listening = families.map((address) => [address, 80] as const);
  const move = async (action: 'add' | 'delete'): Promise<void> => {
    for (const address of families)
      await rig.lab.balancer.exec(
        'ip',
        'address',
        action,
        `${address}/${address.includes(':') ? 128 : 32}`,
        'dev',
        'vips',
      );
  };
  afterEach(() => move('add'));

  test.each(families)('drops new connections and continues established ones: %s', async (address) => {
    await steering.apply(targetOf(tableOf(listening), ours), signal);
    const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address, port: 80 });
    const answers = async (count: number): Promise<void> => {
      await rig.lab.client.ask({ do: 'say', id, text: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' });
      await expect
        .poll(async () => (await rig.lab.client.ask({ do: 'heard', id })).text?.split('HTTP/1.1 200').length, patience)
        .toBe(count + 1);
    };
    await answers(1);
    const stop = new AbortController();
    const running = steering.run(stop.signal);
    const { listeners } = tableOf(listening);
    const withdrawn = { listeners: listeners.with(Array.from(listeners, ([key, each]) => [key, closed(each)])) };
    await steering.apply(targetOf(withdrawn, addressesOf()), signal);
    await move('delete');
    expect(await rig.fetchFrom('client', address, 80, 3_000)).toBe('timeout');
    await answers(2);
    await move('add');
    await steering.apply(targetOf(tableOf(listening), ours), signal);
    await answers(3);
    expect(await rig.fetchFrom('client', address, 80)).toContain(`${address} 80`);
    await move('delete');
    stop.abort();
    await running;
  });
});

describe('a change of source ranges', () => {
  const listening = (addresses: readonly string[], ranges?: readonly string[]): ReturnType<typeof tableOf> =>
    tableOf(addresses.map((address) => [address, 80, ranges] as const));
  const own = addressesOf('10.10.0.1', 'fd10::1');

  test.each([
    ['10.50.0.1', '10.10.0.1/32', '10.99.0.0/16'],
    ['fd50::1', 'fd10::1/128', 'fd99::/64'],
  ])('ends the connections of clients outside them, and no others: %s', async (address, host, unused) => {
    const stop = new AbortController();
    const running = steering.run(stop.signal);
    await steering.apply(targetOf(listening([address]), ours), signal);
    await expect.poll(() => rig.fetchFrom('balancer', address, 80, 3_000), patience).toContain(address); // it may be tentative
    const dial = async (machine: 'client' | 'balancer'): Promise<() => Promise<string | undefined>> => {
      const { id = 0 } = await rig.lab[machine].ask({ do: 'dial', address, port: 80 });
      return async () => (await rig.lab[machine].ask({ do: 'heard', id })).end;
    };
    const [excluded, permitted] = [await dial('client'), await dial('balancer')];
    expect([await excluded(), await permitted()]).toEqual(['open', 'open']);
    await steering.apply(targetOf(listening([address], [host, unused]), ours, proxyPort, own), signal);
    await expect.poll(excluded, patience).toBe('reset');
    expect(await permitted()).toBe('open');
    await steering.apply(targetOf(listening([address], [unused]), ours, proxyPort, own), signal);
    await expect.poll(permitted, patience).toBe('reset');
    stop.abort();
    await running;
  });

  test('that an earlier process programmed, and did not live to follow, ends them as well, and no others', async () => {
    await steering.apply(targetOf(listening(['10.50.0.1']), ours), signal);
    const [excluded, permitted] = [
      await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 80 }),
      await rig.lab.balancer.ask({ do: 'dial', address: '10.50.0.1', port: 80 }),
    ];
    const restricted = targetOf(listening(['10.50.0.1'], ['10.10.0.1/32']), ours, proxyPort, own);
    await steering.apply(restricted, signal);
    const stop = new AbortController();
    const next = rig.makeNew(stop.signal);
    const running = next.run(stop.signal);
    await next.apply(restricted, signal);
    const heard = { do: 'heard', id: excluded.id ?? 0 } as const;
    await expect.poll(() => rig.lab.client.ask(heard), patience).toMatchObject({ end: 'reset' });
    const { id = 0 } = permitted;
    expect(await rig.lab.balancer.ask({ do: 'heard', id })).toMatchObject({ end: 'open' });
    stop.abort();
    await running;
  });
});

describe('a listener that is closed to new connections', () => {
  test.each(['10.50.0.1', 'fd50::1'])('resets their SYN, and continues established ones: %s', async (address) => {
    const table = tableOf([[address, 80]]);
    const open = targetOf(table, ours);
    await steering.apply(open, signal);
    const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address, port: 80 });
    const answers = async (count: number): Promise<void> => {
      await rig.lab.client.ask({ do: 'say', id, text: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' });
      await expect
        .poll(async () => (await rig.lab.client.ask({ do: 'heard', id })).text?.split('HTTP/1.1 200').length, patience)
        .toBe(count + 1);
    };
    await answers(1);
    await steering.apply({ ...open, serverless: new Set(table.listeners.keys()) }, signal);
    for (const from of ['client', 'balancer'] as const)
      await expect.poll(() => rig.fetchFrom(from, address, 80, 3_000), patience).toBe('ECONNREFUSED'); // the address may be tentative
    await answers(2);
    await steering.apply(open, signal);
    expect(await rig.fetchFrom('client', address, 80)).toContain(`${address} 80`);
    await answers(3);
  });
});

describe('a host that masquerades connections of other machines', () => {
  const masquerade = `table inet other {
    chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
  }`;
  const own = addressesOf('10.10.0.1', 'fd10::1');

  beforeEach(async () => {
    const [node] = rig.lab.nodes;
    await node?.exec('ip', 'route', 'replace', '10.10.0.0/24', 'via', '10.20.0.1');
    await node?.exec('ip', '-6', 'route', 'replace', 'fd10::/64', 'via', 'fd20::1');
    await rig.lab.client.ask({ do: 'serveHttp', port: 9000, body: 'outside' });
    await rig.lab.balancer.nft(masquerade);
  });
  afterEach(() => rig.lab.balancer.nft('table inet other\ndelete table inet other'));

  const fetchThrough = async (address: string, localPort: number): Promise<string | undefined> =>
    await rig.lab.nodes[0]?.exec(
      'curl',
      '-s',
      '-m',
      '10',
      '--local-port',
      String(localPort),
      `http://${address}:9000/`,
    );

  test.each([
    ['10.10.0.1', '10.10.0.2', 8080],
    ['fd10::1', '[fd10::2]', 8090],
  ])(
    'accepts their replies, although a listener has the port at its own address: %s',
    async (address, server, port) => {
      await steering.apply(targetOf(tableOf([[address, port]]), addressesOf(), proxyPort, own), signal);
      expect(await fetchThrough(server, port)).toBe('outside');
      expect(await fetchThrough(server, port + 1)).toBe('outside');
      expect(await rig.fetchFrom('client', address, port)).toContain(`${address} ${port}`);
    },
  );

  test('a host without a listener on an own address has no rule of conntrack', async () => {
    await steering.apply(targetOf(tableOf([['10.50.0.1', 80]]), ours, proxyPort, own), signal);
    expect(await rig.lab.balancer.exec('nft', 'list', 'table', 'inet', 'furiwake')).not.toContain('ct direction');
  });
});
