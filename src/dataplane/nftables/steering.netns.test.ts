import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silent } from '../../../test/make/log.ts';
import {
  type SteeringRig,
  type Listening,
  ours,
  proxyPort,
  tableOf,
  targetOf,
  useSteering,
} from '../../../test/netns/steering-rig.ts';
import * as make from '../../../test/make/table.ts';
import { patience } from '../../../test/netns/patience.ts';
import { parseRange } from '../../core/ip/range.ts';
import { emptyTable, type TrafficTable } from '../../core/traffic/table.ts';
import { systemExec } from '../../main/node/exec.ts';
import { systemFiles } from '../../main/node/files.ts';
import type { Steering } from '../../ports/steering.ts';
import { makeHost } from '../../host/host.ts';

/*
 * The table is changed, taken over, restored and removed: the real kernel, the real nft, a real HAProxy.
 */
const { signal } = new AbortController();
let rig: SteeringRig;
let steering: Steering;
let lifetime: AbortController;
let running: Promise<void>;
const open = tableOf([
  ['10.50.0.1', 80],
  ['fd50::1', 80],
  ['10.10.0.1', 8080],
]);

useSteering({}, (scene) => {
  ({ rig, steering, lifetime } = scene);
});

describe('a change', () => {
  test('of a listener is in force when apply returns, and so is its removal', async () => {
    await apply(emptyTable);
    expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('ECONNREFUSED');
    await apply(open);
    expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('10.50.0.1 80 from 10.10.0.2');
    await apply(emptyTable);
    expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('ECONNREFUSED');
    expect(rig.sentAs('change')).toBe(2);
  });

  test('that removes a listener leaves its connections to the host, which ends them', async () => {
    await apply(open);
    const dialled = await Promise.all(
      ['10.50.0.1', 'fd50::1'].map((address) => rig.lab.client.ask({ do: 'dial', address, port: 80 })),
    );
    await apply(emptyTable);
    const host = makeHost({ exec: rig.lab.balancer.execPort, log: silent });
    await host.endConnections([...open.listeners.values()], signal);
    for (const { id = 0 } of dialled)
      await expect.poll(() => rig.lab.client.ask({ do: 'heard', id }), patience).toMatchObject({ end: 'reset' });
  });

  test('without a difference sends no transaction', async () => {
    await apply(open);
    await apply(
      tableOf([
        ['fd50::1', 80],
        ['10.10.0.1', 8080],
        ['10.50.0.1', 80],
      ]),
    );
    expect(rig.sentAs('change')).toBe(0);
  });

  test('of the port of HAProxy replaces the element', async () => {
    await apply(open);
    await steering.apply(targetOf(withNewListeners(open), ours, proxyPort + 1), signal);
    expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('ECONNREFUSED'); // no process listens there
    await apply(open);
    expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('10.50.0.1 80 from 10.10.0.2');
  });

  test('that is too long for a line is also one transaction', async () => {
    await apply(open);
    await apply(tableOf(many(1000)));
    expect(await rig.fetchFrom('client', '10.50.0.1', 1999)).toBe('10.50.0.1 1999 from 10.10.0.2');
    expect(rig.sentAs('change')).toBe(1);
    expect(await steering.audit(signal)).toBe(0);
  });

  test('replaces the whole table in a kernel with another state', async () => {
    await apply(open);
    await rig.lab.balancer.nft('flush ruleset');
    await apply(tableOf([['10.50.0.1', 81]]));
    expect(await rig.fetchFrom('client', '10.50.0.1', 81)).toBe('10.50.0.1 81 from 10.10.0.2');
    expect(await rig.fetchFrom('client', '10.50.0.1', 22)).toBe('ECONNREFUSED');
  });

  test('that the kernel refuses for one listener of many, because two of its ranges overlap, is in force for the others', async () => {
    await apply(open);
    const overlapping = make.listener('10.50.0.1', 1050, 30_000, {
      sourceRanges: ['10.0.0.0/8', '10.10.0.0/16'].flatMap((range) => parseRange(range) ?? []),
    });
    const listeners = [...tableOf(many(100)).listeners.values()].filter(({ port }) => port !== 1050);
    const refusals = await steering.apply(targetOf(make.tableOf([...listeners, overlapping]), ours), signal);
    expect([...refusals]).toEqual([[overlapping.key, expect.stringMatching(/^nft: Error: .*File exists$/)]]);
    expect(await rig.fetchFrom('client', '10.50.0.1', 1051)).toBe('10.50.0.1 1051 from 10.10.0.2');
    expect(await rig.fetchFrom('client', '10.50.0.1', 1050)).toBe('ECONNREFUSED');
    expect(await steering.audit(signal)).toBe(0);
    expect(rig.sentAs('replace')).toBe(1);
  });

  test('succeeds although the nft process for it has ended', async () => {
    await apply(open);
    await apply(emptyTable);
    await killSession();
    await apply(open);
    expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('10.50.0.1 80 from 10.10.0.2');
  });
});

describe('a restarted agent', () => {
  test('takes over without one failed connection', async () => {
    await apply(open);
    const clients = startClients('10.50.0.1', 80);
    await clients.after(200);
    for (let i = 0; i < 5; i++) {
      const next = rig.makeNew(lifetime.signal);
      await next.apply(targetOf(open, ours), signal);
      await clients.after(100);
    }
    expect(clients.answers()).toEqual(new Map([['200 1', 700]]));
  });
});

describe('run', () => {
  beforeEach(async () => {
    await apply(open);
    running = steering.run(lifetime.signal);
  });
  afterEach(async () => {
    lifetime.abort();
    await running;
  });

  test.each([
    ['the ruleset is flushed', 'flush ruleset'],
    ['the table is deleted', 'delete table inet furiwake'],
    ['the rules are flushed', 'flush chain inet furiwake classify'],
    ['a listener is deleted', 'delete element inet furiwake listeners4 { 10.50.0.1 . 80 }'],
    ['a foreign rule is added to the chain', 'insert rule inet furiwake classify drop'],
  ])('restores everything when %s', async (_, text) => {
    for (const times of [1, 2]) {
      await rig.lab.balancer.nft(text);
      await expect.poll(() => rig.repaired(), patience).toBe(times);
    }
    expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('10.50.0.1 80 from 10.10.0.2');
    expect(await steering.audit(signal)).toBe(0);
  });

  test('keeps established connections alive while the ruleset is flushed', async () => {
    const client = startClients('10.50.0.1', 80, 'keep-alive');
    await client.after(100);
    await rig.lab.balancer.nft('flush ruleset');
    await expect.poll(() => rig.repaired(), patience).toBe(1);
    await client.after(100);
    expect(client.answers()).toEqual(
      new Map([
        ['200 1', 1],
        ['200 0', 199],
      ]),
    ); // one connection
  });

  test('restores the routing rules when another program deletes them', async () => {
    await rig.lab.balancer.exec('ip', 'rule', 'delete', 'priority', '82');
    await rig.lab.balancer.exec('ip', '-6', 'rule', 'delete', 'priority', '82');
    await expect.poll(() => rig.repaired(), patience).toBe(2);
    expect(await rig.lab.balancer.exec('ip', 'rule')).toContain('fwmark 0x2000/0x2000 lookup 8192');
  });

  test('repairs nothing after its own changes', async () => {
    for (let i = 0; i < 20; i++) await apply(i % 2 === 0 ? emptyTable : open);
    await rig.lab.balancer.nft('delete element inet furiwake listeners4 { 10.50.0.1 . 80 }'); // arrives after all the others
    await expect.poll(() => rig.repaired(), patience).toBe(1);
    expect(rig.sentAs('replace')).toBe(2);
  });
});

describe('remove', () => {
  test('leaves no trace, and is not an error without a table', async () => {
    await apply(open);
    await steering.remove(signal);
    await steering.remove(signal);
    expect(await rig.lab.balancer.exec('nft', 'list', 'ruleset')).toBe('');
    for (const family of ['-4', '-6']) {
      expect(await rig.lab.balancer.exec('ip', family, 'rule')).not.toContain('8192');
      expect(await rig.lab.balancer.exec('ip', family, 'route', 'show', 'table', 'all')).not.toContain('8192');
    }
    expect(await steering.audit(signal)).toBe(0);
  });
});

/** The same listeners as new objects: a listener that leads to another port is another one. */
function withNewListeners(table: TrafficTable): TrafficTable {
  return make.tableOf(Array.from(table.listeners.values(), (listener) => ({ ...listener })));
}

async function apply(table: TrafficTable, added = ours): Promise<void> {
  await steering.apply(targetOf(table, added), signal);
}

/** Ends the nft process of the steering. */
async function killSession(): Promise<void> {
  const { stdout } = await systemExec.run('ip', ['netns', 'pids', rig.lab.balancer.namespace], { signal });
  const pids = stdout.split('\n').filter((pid) => pid !== '');
  const commands = await Promise.all(pids.map((pid) => systemFiles.read(`/proc/${pid}/cmdline`)));
  const sessions = pids.filter((_, index) => commands[index]?.includes('--interactive'));
  expect(sessions).toHaveLength(1);
  for (const pid of sessions) process.kill(Number(pid), 'SIGKILL');
}

/** Requests one after the other; the answers by status (000: failed) and number of connections made for it. */
function startClients(
  address: string,
  port: number,
  connection: 'close' | 'keep-alive' = 'close',
): { after(count: number): Promise<void>; answers(): ReadonlyMap<string, number> } {
  const url = `http://${address}:${port}/?[1-1000000]`;
  const write = ['-o', '/dev/null', '-w', '%{http_code} %{num_connects}\\n'];
  const flags = ['-s', '-m', '20', '-H', `Connection: ${connection}`, ...write];
  const curl = rig.lab.client.execPort.spawn('curl', [...flags, url], lifetime.signal);
  const lines = curl.lines[Symbol.asyncIterator]();
  const answers = new Map<string, number>();
  return {
    after: async (count) => {
      for (let i = 0; i < count; i++) {
        const answer = String((await lines.next()).value);
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
    },
    answers: () => answers,
  };
}

function many(count: number): readonly Listening[] {
  return Array.from({ length: count }, (_, index) => ['10.50.0.1', 1000 + index]);
}
