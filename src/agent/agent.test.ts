import { describe, expect, test } from 'vitest';
import { answer, listener, publish, startAgent, table, type RunningAgent } from '../../test/make/agent-rig.ts';
import type { StepName } from '../../test/make/host-ports.ts';
import { directListener, nodeName } from '../../test/make/table.ts';
import type { ServiceUid } from '../core/model/names.ts';
import type { Listener } from '../core/traffic/table.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.51', 443, 'b');
const c = listener('192.0.2.52', 80, 'c');

const holderOf = ({ agent }: RunningAgent, wanted: Listener): unknown =>
  agent.report().listeners.get(wanted.key)?.holder;

describe('a change', () => {
  test('is made ready before packets come, and removed after they have stopped', async () => {
    const rig = startAgent();
    await publish(rig, a, b);
    rig.ports.steps.length = 0;
    await publish(rig, a);
    expect(rig.ports.steps).toEqual([
      'proxy.upsert',
      'steering.apply',
      'direct.apply',
      'nat.apply',
      'placement.add',
      'proxy.prune',
      'end 443',
      'placement.remove',
    ]);
    expect(answer(rig, a)).toBe('ready');
    expect(answer(rig, b)).toBe('nothing');
  });

  test('is reported as held before anything is programmed, and as in force only after all of it is', async () => {
    const rig = startAgent();
    const gate = Promise.withResolvers<void>();
    rig.ports.gate = gate.promise;
    await publish(rig, a);
    expect([holderOf(rig, a), answer(rig, a)]).toEqual(['default/a', 'pending']);
    gate.resolve();
    await rig.clock.advance(0);
    expect(answer(rig, a)).toBe('ready');
  });

  test('that changes nothing touches nothing', async () => {
    const rig = startAgent();
    await publish(rig, a);
    rig.ports.steps.length = 0;
    rig.agent.publish({ ...rig.agent.desired()! });
    await rig.clock.advance(0);
    expect(rig.ports.steps).toEqual([]);
  });

  test.each([
    ['another Service', 'other', {}],
    ['a Service that is created again', 'a', { uid: 'uid-2' as ServiceUid }],
  ])('of hands to %s removes the listener for the former, connections too, before it adds it', async (_, name, uid) => {
    const rig = startAgent();
    await publish(rig, a, b);
    rig.ports.steps.length = 0;
    const other = listener('192.0.2.51', 80, name, { ...uid, sourceRanges: [] });
    await publish(rig, other, b);
    const { steps } = rig.ports;
    expect(steps.indexOf('end 80')).toBeLessThan(steps.lastIndexOf('proxy.upsert'));
    expect(steps.indexOf('end 80')).toBeGreaterThan(steps.indexOf('steering.apply'));
    expect([holderOf(rig, other), answer(rig, other)]).toEqual([`default/${name}`, 'ready']);
  });

  test('of hands waits until the listener is removed for the Service that had it', async () => {
    const rig = startAgent();
    await publish(rig, a);
    rig.ports.failing.set('host.endConnections', 'ss failed');
    const other = listener('192.0.2.51', 80, 'other');
    await publish(rig, other);
    expect(holderOf(rig, other)).toBe('default/a');
    expect(answer(rig, other)).toBe('the listener of the Service that had this port is not removed yet: ss failed');
    rig.ports.failing.clear();
    await rig.clock.advance(1_000);
    expect([holderOf(rig, other), answer(rig, other)]).toEqual(['default/other', 'ready']);
  });
});

describe('a step that fails as a whole', () => {
  const steps: readonly StepName[] = [
    'proxy.upsert',
    'steering.apply',
    'placement.add',
    'proxy.prune',
    'host.endConnections',
    'placement.remove',
  ];

  test.each(steps)('%s: the other listeners stay in force, and it heals by itself', async (step) => {
    const rig = startAgent();
    const told: (readonly string[])[] = [];
    rig.agent.onTroubles(() => told.push(rig.agent.troubles()));
    await publish(rig, a, b);
    rig.ports.failing.set(step, `${step} failed`);
    await publish(rig, a, c); // b goes, c comes
    expect(answer(rig, a)).toBe('ready');
    expect(rig.agent.troubles()).toEqual([`${step} failed`]);
    expect(told.at(-1)).toEqual(rig.agent.troubles());
    rig.ports.failing.clear();
    await rig.clock.advance(60_000);
    expect([answer(rig, a), answer(rig, b), answer(rig, c)]).toEqual(['ready', 'nothing', 'ready']);
    expect(rig.agent.troubles()).toEqual([]);
    expect(told.at(-1)).toEqual([]);
    expect([...rig.ports.held.proxy.keys()].toSorted()).toEqual([a.key, c.key].toSorted());
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51', '192.0.2.52']);
  });

  test.each(['proxy.prune', 'host.endConnections', 'placement.remove'] as const)(
    '%s: for one Service, another one is served at once, and the step is not tried more often',
    async (step) => {
      const rig = startAgent();
      await publish(rig, a, b, c);
      rig.ports.failing.set(step, 'words of b');
      await publish(rig, a);
      await rig.clock.advance(10 * 60_000); // in the middle of a long wait
      const count = (): number =>
        rig.ports.steps.filter((name) => name === step || (step === 'host.endConnections' && name.startsWith('end')))
          .length;
      const attempts = count();
      for (let port = 1000; port < 1010; port++) {
        const other = listener('192.0.2.60', port, 'd');
        await publish(rig, a, other);
        expect(answer(rig, other)).toBe('ready');
      }
      expect(count() - attempts).toBeLessThan(2);
      rig.ports.failing.clear();
      await rig.clock.advance(60_000);
      expect([holderOf(rig, b), rig.agent.troubles()]).toEqual([undefined, []]);
    },
  );

  test('is over when the listener that it concerned is wanted again', async () => {
    const rig = startAgent();
    await publish(rig, a, b);
    rig.ports.failing.set('host.endConnections', 'ss failed');
    await publish(rig, a);
    expect(rig.agent.troubles()).toEqual(['ss failed']);
    await publish(rig, a, b);
    rig.ports.failing.clear();
    await rig.clock.advance(60_000);
    expect([answer(rig, b), rig.agent.troubles()]).toEqual(['ready', []]);
  });

  test('while no address can be added, listeners on those that are there are served', async () => {
    const rig = startAgent();
    await publish(rig, a);
    rig.ports.failing.set('placement.add', 'the disk is full');
    await publish(rig, a, c);
    await rig.clock.advance(10 * 60_000);
    await publish(rig, a, b, c);
    expect([answer(rig, b), answer(rig, c)]).toEqual(['ready', 'the disk is full']);
    const changed = listener('192.0.2.51', 80, 'a', { sourceRanges: [] });
    await publish(rig, changed, b, c);
    expect(answer(rig, changed)).toBe('ready');
    rig.ports.failing.clear();
    await rig.clock.advance(60_000);
    expect(answer(rig, c)).toBe('ready');
  });

  test('before a listener is removed keeps it held, so that its Service is not released', async () => {
    const rig = startAgent();
    await publish(rig, a, b);
    rig.ports.failing.set('proxy.prune', 'no');
    await publish(rig, a);
    expect(holderOf(rig, b)).toBe('default/b');
    rig.ports.failing.clear();
    await rig.clock.advance(1_000);
    expect(holderOf(rig, b)).toBeUndefined();
    expect(rig.ports.steps).toContain('end 443');
  });

  test('HAProxy does not answer: a listener of another dataplane does not wait for it', async () => {
    const rig = startAgent();
    await publish(rig, a);
    rig.ports.failing.set('proxy.upsert', 'HAProxy does not answer');
    const direct = directListener('192.0.2.52', 53);
    await publish(rig, a, direct);
    expect(answer(rig, direct)).toBe('ready');
    const moved = listener('192.0.2.51', 80, 'a', { dataplane: 'direct' });
    await rig.clock.advance(60_000);
    await publish(rig, moved, direct);
    await rig.clock.advance(60_000);
    expect(answer(rig, moved)).toBe('ready');
    await publish(rig, a, direct);
    await rig.clock.advance(60_000);
    expect(answer(rig, a)).toBe('HAProxy does not answer');
  });

  test.each([0, 1] as const)(
    'HAProxy fails after %i Services: those of nat are served, changed and removed at once, and show nothing of it',
    async (count) => {
      const rig = startAgent();
      const { ports } = rig;
      const dns = listener('192.0.2.53', 53, 'dns', { protocol: 'UDP', dataplane: 'nat' });
      const vpn = listener('192.0.2.54', 1194, 'vpn', { protocol: 'UDP', dataplane: 'nat' });
      const rest = [a].slice(0, count);
      await publish(rig, ...rest);
      ports.failing.set('proxy.upsert', 'port 292 of 127.0.0.1 is held by perl');
      await publish(rig, ...rest, c);
      await rig.clock.advance(10 * 60_000); // in the middle of a long wait
      const change = async (...listeners: readonly Listener[]): Promise<void> => {
        rig.agent.publish(table(...rest, c, ...listeners));
        await rig.clock.advance(100);
      };
      await change(dns, vpn);
      expect([answer(rig, dns), answer(rig, vpn)]).toEqual(['ready', 'ready']);
      expect([...ports.held.nat.keys(), ...ports.held.placed.keys()]).toEqual(
        expect.arrayContaining([dns.key, vpn.key, '192.0.2.53', '192.0.2.54']),
      );
      const closed = listener('192.0.2.53', 53, 'dns', { protocol: 'UDP', dataplane: 'nat', sourceRanges: [] });
      await change(closed);
      expect([answer(rig, closed), holderOf(rig, vpn)]).toEqual(['ready', undefined]);
      expect(ports.held.nat.get(dns.key)?.sourceRanges).toEqual([]);
      expect([ports.held.nat.has(vpn.key), ports.held.placed.has('192.0.2.54')]).toEqual([false, false]);
      expect(rest.map((each) => answer(rig, each))).toEqual(rest.map(() => 'ready'));
      expect([answer(rig, c), ports.held.placed.has('192.0.2.52')]).toEqual([rig.agent.troubles()[0], false]);
    },
  );

  test('HAProxy does not start: a new Service says so at once, however long that lasts', async () => {
    const rig = startAgent();
    rig.ports.failing.set('proxy.upsert', 'port 292 of 127.0.0.1 is held by perl');
    await publish(rig, a);
    await rig.clock.advance(30 * 60_000);
    await publish(rig, a, c);
    expect(answer(rig, c)).toBe('port 292 of 127.0.0.1 is held by perl');
    expect(holderOf(rig, c)).toBeUndefined();
  });

  test.each([...steps, 'proxy.audit', 'steering.audit', 'placement.audit'] as const)(
    '%s: attempts and log lines are paced, alone and together with others',
    async (step) => {
      const rig = startAgent();
      await publish(rig, a, b);
      rig.ports.failing.set(step, 'no');
      await publish(rig, a, c);
      await rig.clock.advance(60 * 60_000);
      const lines = rig.log.lines.length;
      const count = rig.ports.steps.filter(
        (name) => name === step || (step.startsWith('host') && name.startsWith('end')),
      );
      // An hour: at most every 30 s in the end, and a dozen lines.
      expect(count.length).toBeLessThan(2 * 120 + 20);
      expect(lines).toBeLessThan(20);
    },
  );
});

test('a listener is reported as failing while HAProxy has no server for it, and one whose servers refuse the header as well', async () => {
  const rig = startAgent();
  await publish(rig, a, b);
  const failing = (): readonly unknown[] => [a, b].map(({ key }) => rig.agent.report().listeners.get(key)?.isFailing);
  rig.ports.setFailing(new Set([b.key]));
  expect(failing()).toEqual([false, true]);
  rig.ports.setFailing(new Set());
  expect(failing()).toEqual([false, false]);
  rig.ports.setRefusingHeaders(new Set([a.key]));
  expect(rig.agent.report().listeners.get(a.key)?.isHeaderRefused).toBe(true);
});

test('an outage of HAProxy is reported of the listeners that it carries', async () => {
  const rig = startAgent();
  const standIn = directListener('192.0.2.53', 80, { protocol: 'TCP', isPublished: true, standIn: 'haproxy' });
  const dns = listener('192.0.2.54', 53, 'dns', { protocol: 'UDP', dataplane: 'nat' });
  rig.ports.setOnLink(new Set([4]));
  await publish(rig, a, standIn, dns);
  const reported = (): readonly unknown[] =>
    [a, standIn, dns].map(({ key }) => rig.agent.report().listeners.get(key)?.proxyTrouble);
  rig.ports.setOutage('no\nmemory');
  expect(reported()).toEqual(['no; memory', undefined, undefined]);
  rig.ports.closeDirect(true);
  expect(reported()).toEqual(['no; memory', 'no; memory', undefined]);
  rig.ports.setOutage(undefined);
  expect(reported()).toEqual([undefined, undefined, undefined]);
});

test('a listener of direct forwards while a node is known to serve it', async () => {
  const rig = startAgent();
  const dns = directListener('192.0.2.53', 53, { isPublished: true });
  rig.ports.setOnLink(new Set([4]));
  await publish(rig, a, dns);
  const forwarding = (): readonly unknown[] =>
    [a, dns].map(({ key }) => rig.agent.report().listeners.get(key)?.isForwarding);
  expect(forwarding()).toEqual([true, true]);
  const obstacles = new Map([[nodeName('n1'), { 4: 'noAnswer' as const }]]);
  rig.ports.closeDirect(true, obstacles);
  expect(forwarding()).toEqual([true, false]);
  expect(rig.agent.report().directObstacles).toBe(obstacles);
  rig.ports.closeDirect(false);
  expect(forwarding()).toEqual([true, true]);
});
