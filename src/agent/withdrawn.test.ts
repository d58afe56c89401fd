import { describe, expect, test } from 'vitest';
import { listener, publish, startAgent, table } from '../../test/make/agent-rig.ts';
import { startFaultyHost } from '../../test/make/faulty-host.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { directListener, tableOf } from '../../test/make/table.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { hostBackend } from '../core/traffic/host-pods.ts';
import { podBackend, type PodBackend } from '../core/traffic/table.ts';
import { closed, withdrawn } from './withdrawn.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.51', 443, 'b');

describe('a withdrawn host', () => {
  test('still hands the packets of direct to the nodes, as the host that takes over does', async () => {
    const rig = startAgent();
    const direct = directListener('192.0.2.53', 53, { isPublished: true });
    rig.ports.setOnLink(new Set([4]));
    await publish(rig, a, direct);
    rig.agent.setServing(false);
    await rig.clock.advance(0);
    expect([...rig.ports.held.placed.keys()]).toEqual([]);
    expect(closed(direct)).toMatchObject({
      dataplane: 'direct',
      isPublished: true,
      sourceRanges: undefined,
      targetPort: 0,
    });
    expect(rig.ports.held.direct.has(direct.key)).toBe(true);
    expect(rig.agent.report().listeners.get(direct.key)).toMatchObject({
      revision: direct.revision,
      isForwarding: false,
    });
    rig.agent.setServing(true);
    await rig.clock.advance(0);
    expect([...rig.ports.held.placed.keys()].toSorted()).toEqual(['192.0.2.51', '192.0.2.53']);
    expect(rig.agent.report().listeners.get(direct.key)).toMatchObject({ isForwarding: true });
  });

  test('has no Pods for its own connections, which go to the host that serves', () => {
    const dns = directListener('192.0.2.53', 53);
    const backends = [hostBackend(dns), podBackend(4, dns.service, 80)];
    const pods = PersistentMap.from(backends.map((id) => [id!, { family: 4, pods: [] } satisfies PodBackend]));
    expect([...withdrawn({ ...tableOf([dns]), pods }).pods.keys()]).toEqual(['pods4:test/service:80']);
  });

  test('has no address of its listeners, is closed to new connections, and keeps the established ones', async () => {
    const rig = startAgent();
    await publish(rig, a, b);
    rig.ports.steps.length = 0;
    rig.agent.setServing(false);
    await rig.clock.advance(0);
    expect(rig.ports.held.placed.size).toBe(0);
    expect(rig.ports.held.advertised.size).toBe(0);
    expect(rig.ports.held.steering.vips.size).toBe(0);
    expect([...rig.ports.held.steering.listeners.values()].map(({ sourceRanges }) => sourceRanges)).toEqual([[], []]);
    expect(rig.ports.steps.filter((step) => step.startsWith('end'))).toEqual([]);
    expect(rig.agent.report().listeners.get(a.key)).toMatchObject({ revision: a.revision, isForwarding: false });
    rig.agent.setServing(true);
    await rig.clock.advance(0);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    expect(rig.agent.report().listeners.get(a.key)).toMatchObject({ revision: a.revision, isForwarding: true });
  });

  test('that may serve again in the middle of a pass adds no address of the table that the pass began with', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const answer = Promise.withResolvers<void>();
    rig.ports.hanging.set('steering.apply', answer.promise);
    await publish(rig, a, listener('192.0.2.52', 80, 'former'));
    rig.agent.setServing(false);
    await rig.clock.advance(0);
    rig.agent.publish(table(listener('192.0.2.53', 80, 'present')));
    rig.agent.setServing(true);
    rig.ports.hanging.clear();
    answer.resolve();
    await rig.clock.advance(2_000);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.53']);
    expect([...rig.ports.held.attracted]).toEqual(['192.0.2.51', '192.0.2.53']);
  });

  test.each(['proxy.upsert', 'steering.apply', 'proxy.prune'] as const)(
    'removes its addresses at once even while %s fails',
    async (step) => {
      const rig = startAgent();
      await publish(rig, a);
      rig.ports.failing.set(step, 'no');
      await publish(rig, a, b);
      await rig.clock.advance(10 * 60_000); // in the middle of a long wait
      rig.agent.setServing(false);
      await rig.clock.advance(0);
      expect(rig.ports.held.placed.size).toBe(0);
      expect(rig.ports.held.advertised.size).toBe(0);
    },
  );

  test.each(['proxy.upsert', 'steering.apply', 'proxy.audit'] as const)(
    'removes its addresses at once even while %s hangs, and advertises none that was under way',
    async (step) => {
      const rig = startAgent();
      await publish(rig, a);
      const hanging = Promise.withResolvers<void>();
      rig.ports.hanging.set(step, hanging.promise);
      await publish(rig, a, b, listener('192.0.2.52', 80, 'c'));
      await rig.clock.advance(60_000);
      const attracted = [...rig.ports.held.attracted];
      rig.agent.setServing(false);
      await rig.clock.advance(0);
      expect([rig.ports.held.placed.size, rig.ports.held.advertised.size]).toEqual([0, 0]);
      expect(rig.agent.report().listeners.get(a.key)?.isForwarding).toBe(false);
      hanging.resolve();
      await rig.clock.advance(60_000);
      expect([...rig.ports.held.attracted]).toEqual(attracted);
    },
  );

  test('tries to remove its addresses until it succeeds, though a pass hangs', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const hanging = Promise.withResolvers<void>();
    rig.ports.hanging.set('steering.apply', hanging.promise);
    await publish(rig, a, b);
    rig.ports.failing.set('placement.remove', 'ip: no');
    rig.agent.setServing(false);
    await rig.clock.advance(60_000);
    expect(rig.ports.held.placed.size).toBe(1);
    expect(rig.ports.steps.filter((step) => step === 'placement.remove').length).toBeLessThan(25);
    rig.ports.failing.clear();
    await rig.clock.advance(5_000);
    expect(rig.ports.held.placed.size).toBe(0);
    hanging.resolve();
  });

  test('adds and advertises nothing for a pass that was under way', async () => {
    const rig = startAgent();
    await publish(rig, a);
    const gate = Promise.withResolvers<void>();
    rig.ports.gate = gate.promise;
    rig.agent.publish(table(a, listener('192.0.2.52', 80, 'c')));
    await rig.clock.advance(0);
    rig.agent.setServing(false);
    gate.resolve();
    await rig.clock.advance(60_000);
    expect([rig.ports.held.placed.size, rig.ports.held.advertised.size]).toEqual([0, 0]);
    expect([...rig.ports.held.attracted]).toEqual(['192.0.2.51']);
  });

  test.each([
    ['while HAProxy hangs', true],
    ['without a table', false],
  ])('that starts so removes the addresses of an earlier process at once: %s', async (_, hasTable) => {
    const files = new Map<string, string>();
    const { ports } = await publish(startAgent({ files }), a);
    const hanging = Promise.withResolvers<void>();
    ports.hanging.set('proxy.upsert', hanging.promise);
    const rig = startAgent({ files: hasTable ? files : new Map(), ports, isServing: false });
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(0);
    expect(ports.held.placed.size).toBe(0);
    hanging.resolve();
  });

  test('that starts so announces nothing of what it restores', async () => {
    const files = new Map<string, string>();
    const first = startAgent({ files });
    await publish(first, a);
    const rig = startAgent({ files, isServing: false });
    await rig.agent.restore(() => undefined);
    rig.agent.setServing(false);
    await rig.clock.advance(0);
    expect(rig.ports.held.proxy.size).toBe(1);
    expect([rig.ports.held.placed.size, rig.ports.held.advertised.size]).toEqual([0, 0]);
  });
});

describe('a host that starts without the right to serve, whose addresses have a lifetime', () => {
  /** The state after an earlier process, and the next one. */
  async function restart() {
    const files = new Map<string, string>();
    const first = startAgent({ files });
    await publish(first, a);
    first.agent.keepAddressesUntil(60_000);
    await first.clock.advance(0);
    const { ports } = first;
    ports.steps.length = 0;
    ports.held.attracted.clear();
    const rig = startAgent({ files, ports, isServing: false });
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(0);
    const changes = (): readonly string[] => ports.steps.filter((step) => !step.startsWith('placement.remove'));
    return { rig, changes, isThere: () => ports.held.placed.size > 0 };
  }

  test('leaves everything as it is until the Lease is read, and does not interrupt what it then serves', async () => {
    const { rig, changes, isThere } = await restart();
    await rig.clock.advance(5_000);
    expect([isThere(), changes(), rig.agent.troubles()]).toEqual([true, [], []]);
    expect(rig.ports.held.steering.listeners.get(a.key)?.sourceRanges).toBeUndefined();
    rig.agent.setServing(true);
    await rig.clock.advance(20_000);
    expect([isThere(), [...rig.ports.held.attracted]]).toEqual([true, []]); // none had to be added
    expect(rig.agent.report().listeners.get(a.key)).toMatchObject({ revision: a.revision, isForwarding: true });
  });

  test('removes them as soon as another host is known to hold the Lease', async () => {
    const { rig, isThere } = await restart();
    rig.agent.setServing(false);
    await rig.clock.advance(0);
    expect(isThere()).toBe(false);
  });

  test('is withdrawn after twelve seconds without the Lease, and never extends the lifetime', async () => {
    const { rig, changes, isThere } = await restart();
    await rig.clock.advance(11_900);
    expect(changes()).toEqual([]);
    await rig.clock.advance(200);
    expect([isThere(), rig.ports.steps.includes('placement.keepUntil')]).toEqual([false, false]);
    expect(rig.ports.held.steering.listeners.get(a.key)?.sourceRanges).toEqual([]);
  });
});

test('a host that serves again while nftables refuses to close a listener has the address again', async () => {
  const clock = virtualClock();
  const host = startFaultyHost(clock);
  host.publish([listener('192.0.2.52', 82, 'c')]);
  await clock.advance(1_000);
  host.refuse('steering', 82);
  await host.restart();
  await clock.advance(0);
  host.setServing(false);
  await clock.advance(0);
  await host.recover();
  expect(host.differences()).toEqual([]);
  await host.stop();
});
