import { expect, test } from 'vitest';
import { withOptions } from '../../../test/make/options.ts';
import { podListener, podTable, type PodText } from '../../../test/make/table.ts';
import { type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { applyTable, labNodes, shares } from '../../../test/netns/haproxy-tables.ts';
import { patience } from '../../../test/netns/patience.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import { makeListener } from '../../core/traffic/make-listener.ts';
import { parseServersState } from './runtime/answers.ts';
import { unixSockets } from './runtime/client.ts';

const web = podListener('10.50.0.1', 80, 'test/web');
const web6 = podListener('fd50::1', 80, 'test/web');
const mail = podListener('10.50.0.1', 25, 'test/mail');

/** One Pod on each node, with an address of its own; its HTTP port differs from Pod to Pod. The load balancer has routes. */
async function startPods(nodes: number): Promise<Rig> {
  const rig = await startRig({ nodes });
  const { balancer } = rig.lab;
  for (const [index, machine] of rig.lab.nodes.entries()) {
    const [number, { ip4, ip6 }] = [index + 1, machine];
    await machine.exec('ip', 'address', 'add', `10.244.${number}.7/32`, 'dev', 'lo');
    await machine.exec('ip', 'address', 'add', `fd44::${number}:7/128`, 'dev', 'lo', 'nodad');
    await balancer.exec('ip', 'route', 'add', `10.244.${number}.0/24`, 'via', ip4);
    await balancer.exec('ip', '-6', 'route', 'add', `fd44::${number}:0/112`, 'via', ip6);
    await machine.ask({ do: 'serveHttp', port: 8080 + number, body: `pod${number}` });
    await machine.ask({ do: 'serveLines', port: 2525, greeting: `220 pod${number}\n` });
  }
  return rig;
}

function pods(...numbers: readonly (number | string)[]): readonly PodText[] {
  return numbers.map((text) => {
    const [number, more = ''] = String(text).split(/(?= )/);
    return `10.244.${number}.7 ${8080 + Number(number)} n${number}${more}`;
  });
}

function tableOf(
  rig: Rig,
  ofWeb: readonly PodText[],
  ofMail: readonly PodText[] = ['10.244.1.7 2525 n1'],
  draining = '',
): TrafficTable {
  const ofWeb6 = ofWeb.map((text) => text.replace(/^10\.244\.(\d)\.7/, 'fd44::$1:7'));
  return podTable(
    [
      [web, ofWeb],
      [web6, ofWeb6],
      [mail, ofMail],
    ],
    labNodes(rig, draining),
  );
}

/** Requests that do not stop; `end` resolves with those that failed. */
function load(
  rig: Rig,
  clients: number,
): {
  /** Does `work` while no request is under way. */
  between(work: () => Promise<void>): Promise<void>;
  end(): Promise<readonly unknown[]>;
} {
  const failed: unknown[] = [];
  const start = (): (() => Promise<unknown>) => {
    const over = new AbortController();
    const client = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const outcome = await rig.fetch('10.50.0.1');
        if (outcome.status !== 200) failed.push(outcome);
      }
    };
    const running = Promise.all(Array.from({ length: clients }, client));
    return () => {
      over.abort();
      return running;
    };
  };
  let stop = start();
  return {
    between: async (work) => {
      await stop();
      await work();
      stop = start();
    },
    end: async () => {
      await stop();
      return failed;
    },
  };
}

test('Pods take connections on their own ports, in both families, without a nodePort and without a reload', async () => {
  await using rig = await startPods(3);
  const driver = rig.newDriver();
  await applyTable(driver, tableOf(rig, pods(1, 2, 3)), rig);
  expect(await shares(rig, '10.50.0.1', 12)).toEqual({ pod1: 4, pod2: 4, pod3: 4 });
  expect(await shares(rig, 'fd50::1', 12)).toEqual({ pod1: 4, pod2: 4, pod3: 4 });
  await applyTable(driver, tableOf(rig, pods(1, '2 draining')), rig);
  expect(await shares(rig, '10.50.0.1', 4)).toEqual({ pod1: 4 });
  await applyTable(driver, tableOf(rig, pods(1, 3), undefined, 'n3'), rig);
  expect(await shares(rig, '10.50.0.1', 4)).toEqual({ pod1: 4 });
  await applyTable(driver, tableOf(rig, []), rig);
  expect(await shares(rig, '10.50.0.1', 1)).toEqual({ nothing: 1 });
  expect(driver.metric('furiwake_reloads_total')).toBe(0);
  expect(driver.complaints).toEqual([]);
});

test('a Pod that leaves, refuses or is silent costs no connection; one that accepts again is used again', async () => {
  await using rig = await startPods(3);
  const driver = rig.newDriver({ silenceMs: 60_000 }); // connections that wait for the silent Pod are not ended
  await applyTable(driver, tableOf(rig, pods(1, 2, 3)), rig);
  driver.watch();
  const connection = await rig.connect();
  const clients = load(rig, 4);
  // The kernel resets connections that the Pod has not accepted when it stops to listen.
  await clients.between(async () => {
    await rig.lab.nodes[1]?.ask({ do: 'unlisten', port: 8082 });
  });
  await expect.poll(() => shares(rig, '10.50.0.1', 6), patience).toEqual({ pod1: 3, pod3: 3 });
  // While HAProxy does not know yet that two Pods are bad, all four attempts of a connection may go to these.
  const down = async (): Promise<readonly string[]> =>
    parseServersState(await rig.ask('show servers state')).flatMap(({ server, isUp }) => (isUp ? [] : server));
  await expect.poll(down, patience).toContain('pod_10.244.2.7_8082');
  await clients.between(async () => rig.lab.nodes[2]?.setSilent(true)); // a request under way there is lost
  await expect.poll(() => shares(rig, '10.50.0.1', 6), patience).toEqual({ pod1: 6 });
  await rig.lab.nodes[2]?.setSilent(false);
  await rig.lab.nodes[1]?.ask({ do: 'serveHttp', port: 8082, body: 'pod2' });
  await expect.poll(() => shares(rig, '10.50.0.1', 6), patience).toEqual({ pod1: 2, pod2: 2, pod3: 2 });
  for (let round = 0; round < 20; round++) {
    const rest = [1, 2, 3].filter((number) => number !== 1 + (round % 3));
    await applyTable(driver, tableOf(rig, pods(...rest)), rig);
  }
  expect(await clients.end()).toEqual([]);
  await connection.echoes();
});

test('with affinity a client stays with its Pod while others come, and leaves one that drains or is gone', async () => {
  await using rig = await startPods(3);
  const driver = rig.newDriver();
  const { options } = withOptions('10.50.0.1', 80, 0, { profile: { affinitySeconds: 60 } });
  const listeners = [web, web6].map((plain) => makeListener({ ...plain, options }));
  const apply = (...numbers: readonly (number | string)[]): Promise<void> => {
    const texts = [pods(...numbers), pods(...numbers).map((text) => text.replace(/^10\.244\.(\d)\.7/, 'fd44::$1:7'))];
    const table = podTable(
      listeners.map((each, index) => [each, texts[index] ?? []]),
      labNodes(rig),
    );
    return applyTable(driver, table, rig);
  };
  for (const number of [1, 2, 3]) {
    await apply(number);
    for (const vip of ['10.50.0.1', 'fd50::1']) expect(await shares(rig, vip, 1)).toEqual({ [`pod${number}`]: 1 });
    await apply(1, 2, 3);
    for (const vip of ['10.50.0.1', 'fd50::1']) expect(await shares(rig, vip, 4)).toEqual({ [`pod${number}`]: 4 });
  }
  await apply(1, 2, '3 draining');
  const other = Object.keys(await shares(rig, '10.50.0.1', 4));
  expect(other).toHaveLength(1);
  expect(['pod1', 'pod2']).toContain(other[0]);
  await apply(1, 2, 3);
  expect(await shares(rig, '10.50.0.1', 4)).toEqual({ [other[0] ?? '']: 4 });
  expect(driver.metric('furiwake_reloads_total')).toBe(0);
  expect(driver.complaints).toEqual([]);
});

test('a reload keeps the Pods of clients, also of those that do not come between two reloads', async () => {
  await using rig = await startPods(3);
  const driver = rig.newDriver();
  const { options } = withOptions('10.50.0.1', 80, 0, { profile: { affinitySeconds: 60 } });
  const affine = makeListener({ ...web, options });
  const apply = (numbers: readonly number[], connectTimeoutMs = 0): Promise<void> => {
    const other = withOptions('10.50.0.9', 25, 0, { profile: { connectTimeoutMs } });
    const table = podTable(
      [
        [affine, pods(...numbers)],
        [makeListener({ ...mail, options: other.options }), ['10.244.1.7 2525 n1']],
      ],
      labNodes(rig),
    );
    return applyTable(driver, table, rig);
  };
  let timeout = 0;
  for (const [number, reloads] of [
    [1, 1],
    [2, 1],
    [3, 2],
  ] as const) {
    await apply([number], timeout);
    expect(await shares(rig, '10.50.0.1', 1)).toEqual({ [`pod${number}`]: 1 });
    await apply([1, 2, 3], timeout);
    for (let reload = 0; reload < reloads; reload++) await apply([1, 2, 3], (timeout += 10));
    expect(await shares(rig, '10.50.0.1', 4)).toEqual({ [`pod${number}`]: 4 });
  }
  expect(driver.metric('furiwake_reloads_total')).toBe(4);
  expect(driver.complaints).toEqual([]);
});

test('with affinity a client stays with its Pod when HAProxy was killed', async () => {
  await using rig = await startPods(3);
  const sockets = unixSockets({ clock: systemClock });
  let readings = 0;
  const request: typeof sockets.request = (path, text, signal) => {
    if (text.includes('show table affinity')) readings++;
    return sockets.request(path, text, signal);
  };
  const driver = rig.newDriver({ sockets: { ...sockets, request } });
  const { options } = withOptions('10.50.0.1', 80, 0, { profile: { affinitySeconds: 600 } });
  const apply = (...numbers: readonly number[]): Promise<void> => {
    const table = podTable([[makeListener({ ...web, options }), pods(...numbers)]], labNodes(rig));
    return applyTable(driver, table, rig);
  };
  driver.watch();
  // The hash over all three chooses at most one of these.
  for (const [deaths, number] of [1, 3].entries()) {
    await apply(number);
    expect(await shares(rig, '10.50.0.1', 1)).toEqual({ [`pod${number}`]: 1 });
    await apply(1, 2, 3);
    const before = readings;
    await expect.poll(() => readings, patience).toBeGreaterThan(before);
    await driver.rounds(1); // that reading is over
    process.kill((await driver.proxy.observe(rig.signal)).pid, 'SIGKILL');
    await expect.poll(() => driver.metric('furiwake_haproxy_restarts_total'), patience).toBe(deaths + 1);
    await apply(1, 2, 3); // waits for its turn
    expect(await shares(rig, '10.50.0.1', 4)).toEqual({ [`pod${number}`]: 4 });
  }
  expect(driver.metric('furiwake_reloads_total')).toBe(0);
});

test.each([
  ['the worker that serves', 0],
  ['a worker that a reload has replaced', 1],
])('the connections to Pods count for their node, and are reset when it is dead, of %s', async (_, oldWorkers) => {
  await using rig = await startPods(2);
  const first = rig.newDriver();
  await applyTable(first, tableOf(rig, pods(2)), rig);
  const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
  const heard = async () => await rig.lab.client.ask({ do: 'heard', id });
  await expect.poll(async () => (await heard()).text, patience).toBe('220 pod1\n');
  const driver = oldWorkers === 0 ? first : rig.newDriver({ idleTimeoutSeconds: 1800 }); // another program: reloaded
  await applyTable(driver, tableOf(rig, pods(2)), rig);
  driver.watch();
  await driver.rounds(2);
  const { servers, ...rest } = await driver.proxy.observe(rig.signal);
  expect(rest).toMatchObject({ oldWorkers, oldConnections: oldWorkers });
  expect(servers.filter(({ connections }) => connections > 0)).toMatchObject([{ node: 'n1', connections: 1 }]);
  await rig.lab.nodes[0]?.setSilent(true);
  await expect.poll(async () => (await heard()).end, patience).not.toBe('open');
});

test('the next furiwake takes the Pods over, a restarted HAProxy has them, and external changes are reverted', async () => {
  await using rig = await startPods(2);
  await applyTable(rig.newDriver(), tableOf(rig, pods(1, 2)), rig);
  const second = rig.newDriver();
  const table = tableOf(rig, pods(1, 2));
  await applyTable(second, table, rig);
  expect(await second.proxy.audit(table, rig.signal)).toBe(0);
  const id = (await rig.servers()).find((each) => each.endsWith('/pod_10.244.1.7_8081')) ?? '';
  for (const command of [`set server ${id} state maint`, `set server ${id} addr 10.244.1.7 port 9`]) {
    await rig.command(command);
    expect(await second.proxy.audit(table, rig.signal)).toBeGreaterThan(0);
    expect(await second.proxy.audit(table, rig.signal)).toBe(0);
    // A check may have failed meanwhile.
    await expect.poll(() => shares(rig, '10.50.0.1', 4), patience).toEqual({ pod1: 2, pod2: 2 });
  }
  second.watch();
  process.kill((await second.proxy.observe(rig.signal)).pid, 'SIGKILL');
  await expect.poll(() => second.metric('furiwake_haproxy_restarts_total'), patience).toBe(1);
  await expect.poll(() => shares(rig, '10.50.0.1', 4), patience).toEqual({ pod1: 2, pod2: 2 });
});
