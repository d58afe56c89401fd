import { describe, expect, onTestFinished, test } from 'vitest';
import { type AgentRig, listener, makeAgentRig, table } from '../../test/make/agent-rig.ts';
import type { StepName } from '../../test/make/host-ports.ts';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Listener } from '../core/traffic/table.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.51', 443, 'b');
const c = listener('192.0.2.52', 80, 'c');

type Rig = AgentRig<VirtualClock>;

/** An agent that runs until the test ends. */
function start(options: Partial<Parameters<typeof makeAgentRig<VirtualClock>>[0]> = {}): Rig {
  const rig = makeAgentRig({ clock: virtualClock(), ...options });
  const stop = new AbortController();
  const running = rig.agent.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await rig.clock.drive(running);
  });
  return rig;
}

/** Publishes, and waits until the agent has done what it can do at once. */
async function publish(rig: Rig, ...listeners: readonly Listener[]): Promise<void> {
  rig.agent.publish(table(...listeners));
  await rig.clock.advance(0);
  await rig.clock.advance(0);
}

/** What the host reports of a listener: `ready`, why not, or nothing. */
function answer({ agent }: Rig, wanted: Listener): string {
  const report = agent.report().listeners.get(wanted.key);
  if (report === undefined) return 'nothing';
  if (report.refusal?.revision === wanted.revision) return report.refusal.verdict.message;
  return report.revision === wanted.revision ? 'ready' : 'pending';
}

const holderOf = ({ agent }: Rig, wanted: Listener): unknown => agent.report().listeners.get(wanted.key)?.holder;

describe('a change', () => {
  test('is made ready before packets come, and removed after they have stopped', async () => {
    const rig = start();
    await publish(rig, a, b);
    rig.ports.steps.length = 0;
    await publish(rig, a);
    expect(rig.ports.steps).toEqual([
      'proxy.upsert',
      'steering.apply',
      'placement.add',
      'proxy.prune',
      'end 443',
      'placement.remove',
    ]);
    expect(answer(rig, a)).toBe('ready');
    expect(answer(rig, b)).toBe('nothing');
  });

  test('is reported as held before anything is programmed, and as in force only after all of it is', async () => {
    const rig = start();
    const gate = Promise.withResolvers<void>();
    rig.ports.gate = gate.promise;
    await publish(rig, a);
    expect([holderOf(rig, a), answer(rig, a)]).toEqual(['default/a', 'pending']);
    gate.resolve();
    await rig.clock.advance(0);
    expect(answer(rig, a)).toBe('ready');
  });

  test('that changes nothing touches nothing', async () => {
    const rig = start();
    await publish(rig, a);
    rig.ports.steps.length = 0;
    rig.agent.publish({ ...rig.agent.desired()! });
    await rig.clock.advance(0);
    expect(rig.ports.steps).toEqual([]);
  });

  test('of hands removes the listener for the one Service, connections too, before it adds it for the other', async () => {
    const rig = start();
    await publish(rig, a, b);
    rig.ports.steps.length = 0;
    const other = listener('192.0.2.51', 80, 'other', { sourceRanges: [] });
    await publish(rig, other, b);
    const { steps } = rig.ports;
    expect(steps.indexOf('end 80')).toBeLessThan(steps.lastIndexOf('proxy.upsert'));
    expect(steps.indexOf('end 80')).toBeGreaterThan(steps.indexOf('steering.apply'));
    expect([holderOf(rig, other), answer(rig, other)]).toEqual(['default/other', 'ready']);
  });

  test('of hands waits until the listener is removed for the Service that had it', async () => {
    const rig = start();
    await publish(rig, a);
    rig.ports.failing.set('host.endConnections', 'ss failed');
    const other = listener('192.0.2.51', 80, 'other');
    await publish(rig, other);
    expect(holderOf(rig, other)).toBe('default/a');
    expect(answer(rig, other)).not.toBe('ready');
    rig.ports.failing.clear();
    await rig.clock.advance(1_000);
    expect([holderOf(rig, other), answer(rig, other)]).toEqual(['default/other', 'ready']);
  });
});

describe('what one tool refuses', () => {
  test.each(['proxy', 'steering'] as const)('of one listener (%s) stays with it', async (tool) => {
    const rig = start();
    await publish(rig, a);
    rig.ports.refuses[tool] = ({ key }) => (key === b.key ? `${tool}: no` : undefined);
    await publish(rig, a, b, c);
    expect([answer(rig, a), answer(rig, b), answer(rig, c)]).toEqual(['ready', `${tool}: no`, 'ready']);
    expect([...rig.ports.held.steering.listeners.keys()].toSorted()).toEqual([a.key, c.key].toSorted());
    expect(holderOf(rig, b)).toBeUndefined();
  });

  test('of a change to a listener leaves it as it was', async () => {
    const rig = start();
    await publish(rig, a);
    const restricted = listener('192.0.2.51', 80, 'a', { sourceRanges: [] });
    rig.ports.refuses.steering = ({ revision }) => (revision === restricted.revision ? 'nft: no' : undefined);
    await publish(rig, restricted);
    expect(answer(rig, restricted)).toBe('nft: no');
    expect(rig.ports.held.steering.listeners.get(a.key)?.revision).toBe(a.revision);
    expect(rig.agent.report().listeners.get(a.key)?.revision).toBe(a.revision);
  });

  test('is tried again after growing waits, and delays no other change', async () => {
    const rig = start();
    let attempts = 0;
    rig.ports.refuses.steering = ({ key }) => {
      if (key !== b.key) return undefined;
      attempts++;
      return 'nft: no';
    };
    await publish(rig, b);
    await rig.clock.advance(10 * 60_000);
    expect(attempts).toBeGreaterThan(5);
    expect(attempts).toBeLessThan(20);
    const before = attempts;
    for (let port = 1000; port < 1100; port++) await publish(rig, b, listener('192.0.2.60', port, `s${port}`));
    expect(attempts - before).toBeLessThan(3);
    rig.ports.refuses.steering = () => undefined;
    await rig.clock.advance(60_000);
    expect(answer(rig, b)).toBe('ready');
  });

  test('is forgotten when the listener changes or goes', async () => {
    const rig = start();
    rig.ports.refuses.proxy = ({ revision }) => (revision === b.revision ? 'no' : undefined);
    await publish(rig, b);
    const changed = listener('192.0.2.51', 443, 'b', { sourceRanges: [] });
    await publish(rig, changed);
    expect(answer(rig, changed)).toBe('ready');
    await publish(rig, b);
    await publish(rig);
    expect(rig.agent.report().listeners.size).toBe(0);
  });

  test('an address that the kernel refuses is said on its Services, until the kernel takes it', async () => {
    const rig = start();
    rig.ports.setRefused(new Map([['192.0.2.52', 'furiwake0: no']]));
    await publish(rig, a, c);
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect(answer(rig, a)).toBe('ready');
    expect(answer(rig, c)).toBe('the kernel refused the address 192.0.2.52 (furiwake0: no)');
    rig.ports.setRefused(new Map());
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect(answer(rig, c)).toBe('ready');
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

  test.each(steps)('%s: what is in force stays so, and it heals by itself', async (step) => {
    const rig = start();
    await publish(rig, a, b);
    rig.ports.failing.set(step, `${step} failed`);
    await publish(rig, a, c); // b goes, c comes
    expect(answer(rig, a)).toBe('ready');
    expect(rig.agent.troubles()).toEqual([`${step} failed`]);
    rig.ports.failing.clear();
    await rig.clock.advance(60_000);
    expect([answer(rig, a), answer(rig, b), answer(rig, c)]).toEqual(['ready', 'nothing', 'ready']);
    expect(rig.agent.troubles()).toEqual([]);
    expect([...rig.ports.held.proxy.keys()].toSorted()).toEqual([a.key, c.key].toSorted());
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51', '192.0.2.52']);
  });

  test('before a listener is removed keeps it held, so that its Service is not released', async () => {
    const rig = start();
    await publish(rig, a, b);
    rig.ports.failing.set('proxy.prune', 'no');
    await publish(rig, a);
    expect(holderOf(rig, b)).toBe('default/b');
    rig.ports.failing.clear();
    await rig.clock.advance(1_000);
    expect(holderOf(rig, b)).toBeUndefined();
    expect(rig.ports.steps).toContain('end 443');
  });

  test('HAProxy does not start: a new Service says so at once, however long that lasts', async () => {
    const rig = start();
    rig.ports.failing.set('proxy.upsert', 'port 292 of 127.0.0.1 is held by perl');
    await publish(rig, a);
    await rig.clock.advance(30 * 60_000);
    rig.agent.publish(table(a, c));
    expect(answer(rig, c)).toBe('port 292 of 127.0.0.1 is held by perl');
    expect(holderOf(rig, c)).toBeUndefined();
  });

  test.each([...steps, 'proxy.audit', 'steering.audit', 'placement.audit'] as const)(
    '%s: attempts and log lines are paced, alone and together with others',
    async (step) => {
      const rig = start();
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

describe('the audit', () => {
  test('repairs every part though another part fails', async () => {
    const rig = start();
    await publish(rig, a, c);
    rig.ports.failing.set('proxy.audit', 'HAProxy does not answer');
    rig.ports.held.placed.delete('192.0.2.52');
    await rig.clock.advance(30_000);
    expect(rig.ports.steps).toContain('steering.audit');
    expect(rig.ports.held.placed.has('192.0.2.52')).toBe(true);
  });

  test('goes on while a listener is refused', async () => {
    const rig = start();
    rig.ports.refuses.proxy = ({ key }) => (key === b.key ? 'no' : undefined);
    await publish(rig, a, b);
    rig.ports.held.proxy = rig.ports.held.proxy.with([[a.key, undefined]]);
    await rig.clock.advance(30_000);
    expect(rig.ports.held.proxy.has(a.key)).toBe(true);
  });

  test('puts an address back as soon as the kernel tells that it went', async () => {
    const rig = start();
    await publish(rig, a);
    rig.ports.held.placed.clear();
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    expect(rig.ports.steps).toContain('again 192.0.2.51');
  });

  test('reads addresses back at most twice a second, however much the kernel tells', async () => {
    const rig = start();
    await publish(rig, a);
    rig.ports.steps.length = 0;
    for (let count = 0; count < 100; count++) {
      rig.ports.tellNetwork('addresses');
      await rig.clock.advance(20);
    }
    expect(rig.ports.steps.filter((step) => step === 'placement.audit').length).toBeLessThanOrEqual(5);
    expect(rig.ports.steps.filter((step) => step === 'placement.audit').length).toBeGreaterThanOrEqual(4);
  });

  test('advertises all addresses again when a link comes up', async () => {
    const rig = start();
    await publish(rig, a);
    rig.ports.tellNetwork('link up');
    await rig.clock.advance(500);
    expect(rig.ports.steps).toContain('again 192.0.2.51');
  });
});

describe('an own address of the host', () => {
  const own = listener('192.0.2.10', 80, 'own', { isHostAddress: true });

  test('is never put on the host nor advertised, also when the host loses it', async () => {
    const rig = start();
    rig.ports.setOwn('192.0.2.10');
    await publish(rig, own);
    expect(answer(rig, own)).toBe('ready');
    rig.ports.setOwn('192.0.2.61');
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(60_000);
    await publish(rig, own, a); // any change
    await rig.clock.advance(60_000);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    expect([...rig.ports.held.advertised.keys()]).toEqual(['192.0.2.51']);
    expect(answer(rig, own)).toBe('192.0.2.10 is no longer an address of this host');
  });

  test('of an explicit pool is put on when the host loses it', async () => {
    const rig = start();
    rig.ports.setOwn('192.0.2.51');
    await publish(rig, a);
    expect(rig.ports.held.placed.size).toBe(0);
    rig.ports.setOwn();
    rig.ports.tellNetwork('addresses');
    await rig.clock.advance(500);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
  });
});

describe('a withdrawn host', () => {
  test('has no address of its listeners, is closed to new connections, and keeps the established ones', async () => {
    const rig = start();
    await publish(rig, a, b);
    rig.ports.steps.length = 0;
    rig.agent.setServing(false);
    await rig.clock.advance(0);
    expect(rig.ports.held.placed.size).toBe(0);
    expect(rig.ports.held.advertised.size).toBe(0);
    expect([...rig.ports.held.steering.listeners.values()].map(({ sourceRanges }) => sourceRanges)).toEqual([[], []]);
    expect(rig.ports.steps.filter((step) => step.startsWith('end'))).toEqual([]);
    expect(rig.agent.report().listeners.get(a.key)).toMatchObject({ revision: a.revision, isForwarding: false });
    rig.agent.setServing(true);
    await rig.clock.advance(0);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    expect(rig.agent.report().listeners.get(a.key)).toMatchObject({ revision: a.revision, isForwarding: true });
  });

  test.each(['proxy.upsert', 'steering.apply', 'proxy.prune'] as const)(
    'removes its addresses at once even while %s fails',
    async (step) => {
      const rig = start();
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

  test('that starts so announces nothing of what it restores', async () => {
    const files = new Map<string, string>();
    const first = start({ files });
    await publish(first, a);
    const rig = start({ files, isServing: false });
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(0);
    expect(rig.ports.held.proxy.size).toBe(1);
    expect([rig.ports.held.placed.size, rig.ports.held.advertised.size]).toEqual([0, 0]);
  });
});

describe('after a restart', () => {
  test('the last table is in force without anyone asking', async () => {
    const files = new Map<string, string>();
    const restricted = listener('192.0.2.52', 80, 'c', { sourceRanges: [{ family: 4, first: 0n, last: 255n }] });
    await publish(start({ files }), a, restricted);
    const rig = start({ files });
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(0);
    expect([answer(rig, a), answer(rig, restricted)]).toEqual(['ready', 'ready']);
    expect(rig.agent.desired()?.nodes.size).toBe(1);
  });

  test('connections of what a crash cut short are ended', async () => {
    const files = new Map<string, string>();
    const first = start({ files });
    await publish(first, a, b);
    first.ports.failing.set('proxy.prune', 'no');
    await publish(first, a);
    const rig = start({ files });
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(0);
    await publish(rig, a);
    expect(rig.ports.steps).toContain('end 443');
  });

  test('an address that this host needs itself is not served again', async () => {
    const files = new Map<string, string>();
    await publish(start({ files }), a, c);
    const rig = start({ files });
    await rig.agent.restore(({ text }) => (text === '192.0.2.52' ? 'the API server' : undefined));
    await rig.clock.advance(0);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    expect(rig.agent.report().listeners.has(c.key)).toBe(false);
  });

  test('without a table nothing is touched', async () => {
    const rig = start();
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(60_000);
    expect(rig.ports.steps).toEqual([]);
  });
});

test('a full disk delays no Service, is said once in a while, and is made good', async () => {
  const files = new Map<string, string>();
  let isFull = true;
  files.set = (path, text) => {
    if (isFull) throw new Error('ENOSPC');
    return Map.prototype.set.call(files, path, text) as typeof files;
  };
  const rig = start({ files });
  await publish(rig, a, b);
  await publish(rig, a); // a Service that leaves, besides
  expect([answer(rig, a), answer(rig, b)]).toEqual(['ready', 'nothing']);
  await rig.clock.advance(60 * 60_000);
  expect(rig.ports.steps.filter((step) => step === 'proxy.upsert').length).toBeLessThan(5);
  expect(rig.log.lines.filter(({ message }) => message.includes('saving the table')).length).toBeLessThan(10);
  isFull = false;
  await rig.clock.advance(60_000);
  expect(files.get('/listeners')).toContain('default/a');
});
