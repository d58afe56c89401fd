import { expect, test } from 'vitest';
import { answer, listener, publish, startAgent } from '../../test/make/agent-rig.ts';
import { type FakeHostPorts, makeHostPorts, type StepName } from '../../test/make/host-ports.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Listener } from '../core/traffic/table.ts';

type Choice = Pick<Listener, 'protocol' | 'dataplane' | 'standIn'>;

const choices: Readonly<Record<'TCP' | 'UDP', Readonly<Record<string, Choice>>>> = {
  TCP: {
    HAProxy: { protocol: 'TCP', dataplane: 'haproxy', standIn: undefined },
    nat: { protocol: 'TCP', dataplane: 'nat', standIn: undefined },
    direct: { protocol: 'TCP', dataplane: 'direct', standIn: undefined },
    'direct with HAProxy': { protocol: 'TCP', dataplane: 'direct', standIn: 'haproxy' },
    'direct with nat': { protocol: 'TCP', dataplane: 'direct', standIn: 'nat' },
  },
  UDP: {
    nat: { protocol: 'UDP', dataplane: 'nat', standIn: undefined },
    direct: { protocol: 'UDP', dataplane: 'direct', standIn: undefined },
    'direct with nat': { protocol: 'UDP', dataplane: 'direct', standIn: 'nat' },
  },
};

const steps: readonly StepName[] = [
  'proxy.upsert',
  'steering.apply',
  'direct.apply',
  'nat.prepare',
  'nat.apply',
  'placement.add',
  'proxy.prune',
  'placement.remove',
];

/** `direct` without a stand-in serves only when a node is shown to answer, in any case. */
const waits = new Set(['HAProxy', 'direct']);

const moves = (['TCP', 'UDP'] as const).flatMap((protocol) => {
  const entries = Object.entries(choices[protocol]);
  return entries.flatMap(([name, from]) =>
    entries
      .filter(([other]) => other !== name && !(waits.has(name) && waits.has(other)))
      .map(([other, to]) => [protocol, name, other, from, to] as const),
  );
});

test.each(moves)('%s: moved from %s to %s, another Service back: each step finds both served', async (...move) => {
  const [, , , from, to] = move;
  const web = (choice: Choice): Listener => listener('192.0.2.51', 80, 'web', { ...choice, isPublished: true });
  const mail = (choice: Choice): Listener => listener('192.0.2.52', 25, 'mail', { ...choice, isPublished: true });
  const rig = startAgent();
  const { ports } = rig;
  ports.setOnLink(new Set([4]));
  await publish(rig, web(from), mail(to));
  const { held } = ports;
  const isServed = ({ key }: Listener): boolean =>
    held.direct.has(key) || held.nat.has(key) || (held.steering.listeners.has(key) && held.proxy.has(key));
  const unserved: string[] = [];
  for (const step of steps)
    ports.failing.set(step, () => {
      for (const each of [web(from), mail(to)]) if (!isServed(each)) unserved.push(`${each.service} before ${step}`);
      return undefined;
    });
  await publish(rig, web(to), mail(from));
  expect(unserved).toEqual([]);
  expect([answer(rig, web(to)), answer(rig, mail(from))]).toEqual(['ready', 'ready']);
  const natted = [web(to), mail(from)].filter((each) => each.dataplane === 'nat' || each.standIn === 'nat');
  expect(Array.from(held.nat.values(), ({ revision }) => revision)).toEqual(natted.map(({ revision }) => revision));
});

test('nat keeps a listener that moves there while nft has not answered whether HAProxy still gets its packets', async () => {
  const on = (dataplane: 'haproxy' | 'nat'): Listener => listener('192.0.2.51', 80, 'web', { dataplane });
  const rig = startAgent();
  const { ports, clock } = rig;
  await publish(rig, on('haproxy'));
  const { promise, resolve } = Promise.withResolvers<void>();
  ports.hanging.set('steering.apply', promise);
  await publish(rig, on('nat'));
  await clock.advance(10_000);
  expect([ports.held.nat.size, ports.held.steering.listeners.size, ports.held.proxy.size]).toEqual([1, 1, 1]);
  const unserved: string[] = [];
  for (const step of ['proxy.upsert', 'nat.apply'] as const)
    ports.failing.set(step, () => {
      if (ports.held.nat.size + ports.held.steering.listeners.size === 0) unserved.push(step);
      return undefined;
    });
  ports.hanging.clear();
  resolve();
  await clock.advance(10_000);
  expect([unserved, answer(rig, on('nat'))]).toEqual([[], 'ready']);
});

test('the first pass of a process prepares direct before the stack gets packets, and no other pass does', async () => {
  const rig = startAgent();
  const web = listener('192.0.2.51', 80, 'web', { dataplane: 'direct', standIn: 'haproxy' });
  await publish(rig, web);
  await publish(rig, web, listener('192.0.2.51', 81, 'web', { dataplane: 'direct', standIn: 'haproxy' }));
  const inOrder = rig.ports.steps.filter((step) => step === 'direct.prepare' || step === 'steering.apply');
  expect(inOrder).toEqual(['direct.prepare', 'steering.apply', 'steering.apply']);
});

const troubles = {
  hangs: (ports: FakeHostPorts, step: StepName) => ports.hanging.set(step, new Promise(() => undefined)),
  fails: (ports: FakeHostPorts, step: StepName) => ports.failing.set(step, 'no'),
};

test.each(
  (['direct.prepare', 'direct.apply'] as const).flatMap((step) =>
    (['hangs', 'fails'] as const).flatMap((how) =>
      ([undefined, 'haproxy', 'nat'] as const).map((standIn) => [step, how, standIn] as const),
    ),
  ),
)(
  'while %s %s after a restart, what stands in (%s) keeps the listener, and the host its address',
  async (step, how, standIn) => {
    const clock = virtualClock();
    const [files, ports] = [new Map<string, string>(), makeHostPorts(clock)];
    const protocol = standIn === 'nat' ? 'UDP' : 'TCP';
    const web = listener('192.0.2.51', 80, 'web', { protocol, dataplane: 'direct', standIn, isPublished: true });
    await publish(startAgent({ clock, files, ports }), web);
    troubles[how](ports, step);
    const next = startAgent({ clock, files, ports });
    const { held } = ports;
    const has = { haproxy: () => held.steering.listeners.has(web.key), nat: () => held.nat.has(web.key) };
    const lost = new Set<string>();
    await next.agent.restore(() => undefined);
    for (let count = 0; count < 100; count++) {
      if (count === 20) await publish(next, web);
      if (standIn !== undefined && !has[standIn]()) lost.add(standIn);
      if (!held.placed.has('192.0.2.51')) lost.add('address');
      await clock.advance(100);
    }
    expect([...lost]).toEqual([]);
  },
);
