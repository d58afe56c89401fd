import { afterEach, expect, test } from 'vitest';
import { listener } from '../../../test/make/table.ts';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import {
  connect,
  direct,
  expectAlive,
  heard,
  heldByHaproxy,
  lab,
  lanVip,
  nodes,
  port,
  program,
  startDirect,
} from '../../../test/netns/stand-in-rig.ts';
import type { ServiceUid } from '../../core/model/names.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import { movedSeconds } from './table/moved-slots.ts';
import { partingSeconds } from './table/partings.ts';

/*
 * Packets of TCP that belong to no pin: the last one of a handshake while its listener leaves nodes, and those of a former Service.
 */
const { signal } = new AbortController();

const onDirect = (address: string, more: Partial<Listener> = {}): Listener =>
  listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true, ...more });

/** While it exists, packets of the client with an ACK are lost: its SYN arrives, and nothing else. */
async function withoutAcks(): Promise<AsyncDisposable> {
  await lab.client.nft(`table inet acks {
  chain out { type filter hook output priority 0; tcp dport ${port} tcp flags & (syn | ack) == ack drop; }
}`);
  return { [Symbol.asyncDispose]: () => lab.client.nft('delete table inet acks').then(() => undefined) };
}

/** A connection that is open for the client only. */
async function halfOpen(address: string): Promise<number> {
  const peer = address.includes(':') ? `[${address}]` : address;
  const count = async (): Promise<number> =>
    (await lab.client.exec('ss', '-Htn', 'state', 'established', 'dst', peer)).split('\n').length;
  const before = await count();
  const { id = 0 } = await lab.client.ask({ do: 'dial', address, port });
  await expect.poll(count, patience).toBe(before + 1);
  return id;
}

/** Another process, with a new table: handshakes may take ten minutes there, and its clock stands still. */
async function startUnhurried(): Promise<void> {
  const { execPort } = lab.balancer;
  const seconds = new RegExp(`timeout (?:${movedSeconds}|${partingSeconds}|10)s`, 'g'); // `seen` has ten
  const exec: Exec = {
    ...execPort,
    run: (file, args, { stdin, ...options }) =>
      execPort.run(
        file,
        args,
        stdin === undefined ? options : { ...options, stdin: stdin.replaceAll(seconds, 'timeout 10m') },
      ),
  };
  const startedMs = systemClock.monotonic();
  await direct.remove(signal);
  startDirect({ exec, clock: { ...systemClock, monotonic: () => startedMs } });
}
afterEach(async () => {
  await direct.remove(signal);
  startDirect();
});

async function expectOpened(id: number): Promise<void> {
  await lab.client.ask({ do: 'say', id, text: 'hello ' }); // the client does not wait until the server repeats itself
  await expect.poll(async () => (await heard(id)).text, patience).toMatch(/^n\d .*hello /);
  await expectAlive([id]);
}

test.each([
  ['203.0.113.30', false],
  ['2001:db8:f::30', false],
  [lanVip, true],
] as const)(
  'a connection to %s (affinity: %s) whose handshake began at a node is not cut when its listener goes to HAProxy',
  async (address, isAffine) => {
    await startUnhurried();
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodes.areOpen = true;
    await program(onDirect(address, { isAffine }));
    for (const leave of [
      () => program(listener(address, port, port)),
      async () => {
        nodes.areOpen = false;
        await direct.audit(signal);
      },
    ]) {
      nodes.areOpen = true;
      await program(onDirect(address, { isAffine }));
      const ids: number[] = [];
      {
        await using _lost = await withoutAcks();
        ids.push(await halfOpen(address));
        await leave();
        ids.push(await halfOpen(address)); // at HAProxy
      }
      for (const id of ids) await expectOpened(id);
      expect(await heldByHaproxy(onDirect(address))).toBe(1);
      for (const id of ids) await lab.client.ask({ do: 'hangUp', id });
      await expect.poll(() => heldByHaproxy(onDirect(address)), patience).toBe(0);
    }
  },
);

test.each([
  ['203.0.113.31', false, 'haproxy'],
  ['203.0.113.32', false, undefined],
  ['2001:db8:f::31', false, undefined],
  [lanVip, true, 'haproxy'],
] as const)(
  'connections of a former Service on %s (affinity: %s, stand-in: %s) are reset, those of the next one are not',
  async (address, isAffine, standIn) => {
    for (const node of lab.nodes) await serveVips(node, [address], port);
    if (standIn === undefined) await lab.balancer.exec('ip', 'address', 'add', address, 'dev', 'furiwake0', 'nodad');
    nodes.areOpen = true;
    const of = (uid: string): Listener => onDirect(address, { isAffine, standIn, uid: uid as ServiceUid });
    await program(of('first'));
    const former = await Promise.all(Array.from({ length: 6 }, () => connect(address)));
    await expectAlive(former);
    await program(of('second'));
    const next = await connect(address);
    for (const id of former) await lab.client.ask({ do: 'say', id, text: 'hello ' });
    for (const id of former) await expect.poll(async () => (await heard(id)).end, patience).toBe('reset');
    const more = await Promise.all(Array.from({ length: 6 }, () => connect(address)));
    await expectAlive([next, ...more]);
  },
);

test.each([
  ['203.0.113.33', 'nodes'],
  ['2001:db8:f::33', 'haproxy'],
])(
  'connections to %s whose handshakes began before and after a change of its nodes are not cut; new ones go to %s then',
  async (address, next) => {
    await startUnhurried();
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodes.areOpen = true;
    const each = onDirect(address);
    const nodesNow = async (...names: readonly string[]): Promise<void> =>
      program(each, { weights: Object.fromEntries(names.map((name) => [name, 1])) });
    await nodesNow('n1');
    const ids: number[] = [];
    const halfOpenThree = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) ids.push(await halfOpen(address));
    };
    {
      await using _lost = await withoutAcks();
      await halfOpenThree();
      await nodesNow('n2');
      await halfOpenThree();
      if (next === 'haproxy') await program(listener(address, port, port));
    }
    for (const id of ids) await expectOpened(id);
    const texts = await Promise.all(ids.map(async (id) => (await heard(id)).text));
    expect(texts.map((text) => text?.slice(0, 2))).toEqual(['n1', 'n1', 'n1', 'n2', 'n2', 'n2']);
    if (next === 'nodes') await nodesNow('n1', 'n2'); // each stays at its node
    await expectAlive(ids);
  },
);
