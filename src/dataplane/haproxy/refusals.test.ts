import { expect, test } from 'vitest';
import { makeMachineRig } from '../../../test/make/haproxy-rig.ts';
import { listener, localListener, localTable, node, podListener, podTable, tableOf } from '../../../test/make/table.ts';
import { allPrepared, refusing } from '../../../test/make/unprepared.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { alertsIn } from './process/program.ts';

const { signal } = new AbortController();
const one = listener('192.0.2.51', 80, 30_080);
const two = listener('192.0.2.52', 80, 30_080);
const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
const table = tableOf([one, two], nodes);

test('a listener that HAProxy refuses is reported with its message, the others are in force', async () => {
  const { machine, proxy } = makeMachineRig();
  await proxy.upsert(tableOf([], nodes), signal);
  const asked: string[] = [];
  machine.faults.command = (command) => {
    if (!command.includes('192.0.2.52|80')) return undefined;
    asked.push(command);
    return 'Out of memory.';
  };
  expect(await proxy.upsert(table, signal)).toEqual(refusing([two.key, 'HAProxy: Out of memory.']));
  await proxy.prune(table, signal);
  expect([...(machine.held?.map.keys() ?? [])]).toEqual(['192.0.2.51|80']);

  const tries = asked.length;
  expect(await proxy.upsert(table, signal)).toEqual(refusing([two.key, 'HAProxy: Out of memory.']));
  expect(asked).toHaveLength(tries); // until it changes, or an audit
  machine.faults.command = () => undefined;
  await proxy.audit(table, signal);
  expect(await proxy.upsert(table, signal)).toEqual(allPrepared);
  expect(machine.held?.map.size).toBe(2);
});

test('a refused listener that changes is retried at once', async () => {
  const { machine, proxy } = makeMachineRig();
  await proxy.upsert(tableOf([], nodes), signal);
  machine.faults.command = (command) => (command.includes('|30080|') ? 'Odd.' : undefined);
  expect((await proxy.upsert(tableOf([one], nodes), signal)).refused.size).toBe(1);
  expect(await proxy.upsert(tableOf([listener('192.0.2.51', 80, 30_081)], nodes), signal)).toEqual(allPrepared);
  expect(machine.held?.map.get('192.0.2.51|80')).toContain('|30081|');
});

test('a listener of another protocol is refused by name', async () => {
  const { machine, proxy } = makeMachineRig();
  const udp = listener('192.0.2.51', 53, 30_053, { protocol: 'UDP' });
  expect(await proxy.upsert(tableOf([one, udp], nodes), signal)).toEqual(
    refusing([udp.key, 'HAProxy cannot serve UDP']),
  );
  expect(machine.held?.map.size).toBe(1);
});

test('a node that HAProxy refuses is skipped and logged once; an audit retries it', async () => {
  const { machine, proxy, log } = makeMachineRig();
  await proxy.upsert(tableOf([one]), signal);
  machine.faults.command = (command) => (command.includes('nodes4/n2') ? 'Cannot add.' : undefined);
  for (let change = 0; change < 3; change++) expect(await proxy.upsert(table, signal)).toEqual(allPrepared);
  expect([...(machine.held?.servers.keys() ?? [])]).toEqual(['nodes4/n1']);
  const complaints = log.lines.filter(({ level }) => level === 'warn');
  expect(complaints).toMatchObject([{ message: 'adding nodes to HAProxy failed; retrying' }]);
  expect(String(complaints[0]?.fields['err'])).toContain('nodes4/n2: Cannot add.');

  machine.faults.command = () => undefined;
  await proxy.audit(table, signal);
  expect([...(machine.held?.servers.keys() ?? [])]).toEqual(['nodes4/n1', 'nodes4/n2']);
  expect(log.lines.at(-1)?.message).toBe('adding nodes to HAProxy works again');
});

test('a configuration that is refused because of a node is started without nodes, which commands add', async () => {
  const { machine, proxy, log } = makeMachineRig();
  machine.faults.config = (text) => (text.includes('server n2 ') ? "'server n2' : unusual" : undefined);
  machine.faults.command = (command) => (command.includes('nodes4/n2') ? 'Cannot add.' : undefined);
  expect(await proxy.upsert(table, signal)).toEqual(allPrepared);
  expect([...(machine.held?.servers.keys() ?? [])]).toEqual(['nodes4/n1']);
  expect(machine.texts.get('/run/furiwake/net-1/haproxy/haproxy.cfg')).not.toContain('    server ');
  expect(log.lines.map(({ message }) => message)).toContain('writing the configuration of HAProxy failed; retrying');
});

test('a refused configuration blocks no change while a worker runs, and is the error if none runs', async () => {
  const { machine, proxy } = makeMachineRig();
  machine.faults.config = () => 'unknown keyword';
  await expect(proxy.upsert(table, signal)).rejects.toMatchObject({
    code: 'PROXY_ABSENT',
    cause: { code: 'HAPROXY_CONFIG_REFUSED', words: 'unknown keyword' },
  });
  expect(machine.starts).toBe(0);
  machine.faults.config = () => undefined;
  await proxy.upsert(
    tableOf(
      [one],
      [nodes[0]].flatMap((each) => each ?? []),
    ),
    signal,
  );
  machine.faults.config = () => 'unknown keyword';
  expect(await proxy.upsert(table, signal)).toEqual(allPrepared);
  expect(machine.held?.map.size).toBe(2);
  expect(machine.held?.servers.size).toBe(2);
});

test('a full disk blocks no change while a worker runs, and is the error if HAProxy has no files to start with', async () => {
  const { machine, proxy } = makeMachineRig();
  machine.faults.isDiskFull = true;
  await expect(proxy.upsert(table, signal)).rejects.toThrow('ENOSPC');
  expect(machine.starts).toBe(0);
  machine.faults.isDiskFull = false;
  await proxy.upsert(tableOf([one]), signal);
  machine.faults.isDiskFull = true;
  expect(await proxy.upsert(table, signal)).toEqual(allPrepared);
  machine.die();
  const three = listener('192.0.2.53', 80, 30_080);
  expect(await proxy.upsert(tableOf([one, two, three], nodes), signal)).toEqual(allPrepared);
  expect(machine.held?.map.size).toBe(3);
  expect(machine.held?.servers.size).toBe(2);
});

test.each([
  [
    'alerts only, without the process id and the summary',
    [
      '[NOTICE]   (2172) : haproxy version is 2.6.12',
      '[ALERT]    (2172) : config : [/x/candidate.cfg:29] : timer overflow',
      '[ALERT]    (2172) : config : Fatal errors found in configuration.',
    ],
    'config : [/x/candidate.cfg:29] : timer overflow',
  ],
  [
    'each of several once, on one line',
    [
      '[ALERT]    (7) : Starting frontend services: cannot bind socket (Address already in use) [127.0.0.1:292]',
      '[ALERT]    (7) : [/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting.',
      '[ALERT]    (8) : Starting frontend services: cannot bind socket (Address already in use) [127.0.0.1:292]',
    ],
    'Starting frontend services: cannot bind socket (Address already in use) [127.0.0.1:292]; ' +
      '[/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting.',
  ],
  ['the other lines if there is no alert', ['Segmentation fault', ''], 'Segmentation fault'],
  [
    'no notice and no warning',
    [
      'ended by SIGKILL',
      '[NOTICE]   (7) : haproxy version is 2.6.12',
      '[WARNING]  (7) : config : parsing [/x:1] : a rule',
    ],
    'ended by SIGKILL',
  ],
])('the message of a refusal contains %s', (_, lines, expected) => {
  expect(alertsIn(lines.join('\n'))).toBe(expected);
});

test.each([
  ['the disk is full', { isDiskFull: true }, 'ENOSPC'],
  [
    'HAProxy refuses the configuration',
    { config: (text: string) => (text.includes('spare4-16') ? 'out of memory' : undefined) },
    'out of memory',
  ],
] as const)('if %s, only the listener that needs more spare backends is refused', async (_, faults, words) => {
  const { machine, proxy, clock, log } = makeMachineRig();
  const locals = Array.from({ length: 17 }, (__, index) =>
    localListener(`192.0.2.${100 + index}`, 80, 30_081, `test/local${index}`),
  );
  const tableWith = (count: number, ...more: readonly Listener[]) => {
    const made = localTable(
      locals.slice(0, count).map((each) => [each, { n1: 1 }]),
      nodes,
    );
    return { ...made, listeners: made.listeners.with(more.map((each) => [each.key, each])) };
  };
  await proxy.upsert(tableWith(16), signal);
  const { faults: now } = machine;
  Object.assign(now, faults);
  const last = locals.at(-1);
  const crowded = tableWith(17, one);
  expect(await proxy.upsert(crowded, signal)).toEqual(refusing([last?.key, expect.stringContaining(words)]));
  await proxy.prune(crowded, signal);
  expect([...(machine.held?.map.keys() ?? [])]).toContain('192.0.2.51|80');
  expect(machine.held?.map.size).toBe(17);
  expect(log.lines.map(({ message }) => message)).not.toContain('adding nodes to HAProxy failed; retrying');
  machine.die();
  expect(await proxy.upsert(tableWith(17, two), signal)).toEqual(refusing([last?.key, expect.stringContaining(words)]));
  await proxy.prune(tableWith(17, two), signal);
  expect([...(machine.held?.map.keys() ?? [])]).toContain('192.0.2.52|80');
  expect([...(machine.held?.map.keys() ?? [])]).not.toContain('192.0.2.51|80');

  Object.assign(now, { isDiskFull: false, config: () => undefined });
  await clock.advance(30_000);
  const [refusals] = await Promise.all([proxy.upsert(crowded, signal), clock.advance(2000)]);
  expect(refusals).toEqual(allPrepared);
  await proxy.prune(crowded, signal);
  expect(machine.held?.map.size).toBe(18);
});

test('a node that HAProxy refuses in a spare backend is skipped there and logged once; an audit retries it', async () => {
  const { machine, proxy, log } = makeMachineRig();
  const local = localTable([[localListener('192.0.2.53', 80, 30_081, 'test/local'), { n1: 1, n2: 1 }]], nodes);
  await proxy.upsert(tableOf([], nodes), signal);
  let tries = 0;
  machine.faults.command = (command) => {
    if (!command.includes('spare4-0/n2')) return undefined;
    tries++;
    return 'Out of memory.';
  };
  expect(await proxy.upsert(local, signal)).toEqual(allPrepared);
  const before = tries;
  for (let change = 0; change < 3; change++) {
    await proxy.upsert(local, signal);
    await proxy.prune(local, signal);
  }
  expect(tries).toBe(before);
  expect([...(machine.held?.servers.keys() ?? [])]).toContain('spare4-0/n1');
  const complaints = log.lines.filter(({ level }) => level === 'warn');
  expect(complaints).toHaveLength(1);
  expect(String(complaints[0]?.fields['err'])).toContain('spare4-0/n2: Out of memory.');

  machine.faults.command = () => undefined;
  await proxy.audit(local, signal);
  expect([...(machine.held?.servers.keys() ?? [])]).toContain('spare4-0/n2');
});

test('a server that would follow a refused node is not added; an audit adds both', async () => {
  const { machine, proxy, log } = makeMachineRig();
  const local = localTable([[localListener('192.0.2.53', 80, 30_081, 'test/local'), { n1: 1, n2: 1 }]], nodes);
  await proxy.upsert(tableOf([]), signal);
  const asked: string[] = [];
  machine.faults.command = (command) => {
    asked.push(command);
    return command.startsWith('add server nodes4/n2') ? 'Cannot add.' : undefined;
  };
  for (let change = 0; change < 2; change++) expect(await proxy.upsert(local, signal)).toEqual(allPrepared);
  asked.splice(0);
  const more = localTable(
    [
      [localListener('192.0.2.53', 80, 30_081, 'test/local'), { n1: 1, n2: 1 }],
      [localListener('192.0.2.54', 80, 30_082, 'test/other'), { n2: 1 }],
    ],
    nodes,
  );
  for (const each of [local, more]) {
    await proxy.upsert(each, signal);
    await proxy.prune(each, signal);
  }
  expect(asked.filter((command) => command.includes('/n2'))).toEqual([]);
  expect([...(machine.held?.servers.keys() ?? [])]).toEqual(['nodes4/n1', 'spare4-0/n1']);
  const complaints = log.lines.filter(({ level }) => level === 'warn');
  expect(complaints.map(({ fields }) => String(fields['err']))).toEqual([
    expect.stringContaining('nodes4/n2: Cannot add.'),
  ]);

  machine.faults.command = () => undefined;
  await proxy.audit(local, signal);
  expect([...(machine.held?.servers.keys() ?? [])]).toEqual(['nodes4/n1', 'spare4-0/n1', 'nodes4/n2', 'spare4-0/n2']);
});

test('a Pod that HAProxy refuses is skipped and logged once, and delays no other; a change of its Service retries it', async () => {
  const { machine, proxy, log } = makeMachineRig();
  const [web, api] = [podListener('192.0.2.51', 80, 'test/web'), podListener('192.0.2.52', 80, 'test/api')];
  const tableWith = (...texts: readonly string[]) =>
    podTable(
      [
        [web, texts],
        [api, ['10.244.3.1 80']],
      ],
      nodes,
    );
  await proxy.upsert(tableOf([], nodes), signal);
  const asked: string[] = [];
  machine.faults.command = (command) => {
    if (!command.includes('pod_10.244.1.7_8080')) return undefined;
    asked.push(command);
    return 'Cannot add.';
  };
  const pods = (): readonly string[] =>
    [...(machine.held?.servers.keys() ?? [])]
      .filter((id) => id.startsWith('spare'))
      .map((id) => id.split('/')[1] ?? '');
  const first = tableWith('10.244.1.7 8080', '10.244.2.9 8080');
  expect(await proxy.upsert(first, signal)).toEqual(allPrepared);
  expect(pods().toSorted()).toEqual(['pod_10.244.2.9_8080', 'pod_10.244.3.1_80']);
  expect(machine.held?.map.size).toBe(2);
  const tries = asked.length;
  await proxy.upsert(first, signal);
  await proxy.prune(first, signal);
  expect(asked).toHaveLength(tries);
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);

  await proxy.upsert(tableWith('10.244.1.7 8080', '10.244.2.10 8080'), signal);
  expect(asked.length).toBeGreaterThan(tries);
  machine.faults.command = () => undefined;
  await proxy.audit(tableWith('10.244.1.7 8080', '10.244.2.10 8080'), signal);
  expect(pods()).toContain('pod_10.244.1.7_8080');
});
