import { expect, test } from 'vitest';
import { makeMachineRig, upsert } from '../../../test/make/haproxy-rig.ts';
import { makeReloadRig, withProfile } from '../../../test/make/reload-rig.ts';
import { listener, localListener, localTable, node, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import { noLimits, plainServer, type Profile, usualProfile } from '../../core/traffic/options.ts';
import type { Listener, TrafficTable } from '../../core/traffic/table.ts';
import type { CheckAnswer } from '../../ports/health.ts';
import type { Refusals } from '../../ports/host.ts';

const { signal } = new AbortController();
const folder = '/run/furiwake/net-1/haproxy';
const nodes = [node('n1', '192.0.2.11')];
const plain = listener('192.0.2.51', 80, 30_080);

function usualListener(vip: string, ofProfile: Pick<Profile, 'mode' | 'affinitySeconds'>): Listener {
  const options = { limits: noLimits, server: plainServer, profile: usualProfile(ofProfile), isMeasured: false };
  return listener(vip, 80, 30_080, { options, service: serviceKey('web', vip) });
}

test('a Service whose settings change each second causes few reloads; others change meanwhile, and its last settings come in', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  let refusals: Refusals<Listener['key']> = new Map();
  for (let second = 1; second <= 60; second++) {
    refusals = await upsert(rig, tableOf([plain, withProfile(second * 1000)], nodes));
    await rig.clock.advance(500);
  }
  const waiting = withProfile(60_000);
  expect(rig.reloads()).toBe(5);
  expect([...refusals.entries()]).toEqual([
    [
      waiting.key,
      expect.stringMatching(/^idle-timeout=60000ms needs a reload of HAProxy; .* the next one is at 20.*Z$/),
    ],
  ]);
  const other = listener('192.0.2.53', 80, 30_082);
  expect([...(await upsert(rig, tableOf([plain, waiting, other], nodes))).keys()]).toEqual([waiting.key]);
  expect(rig.machine.held?.map.has('192.0.2.53|80')).toBe(true);
  await rig.clock.advance(60_000);
  expect(await upsert(rig, tableOf([plain, waiting, other], nodes))).toEqual(new Map());
  expect([rig.reloads(), rig.machine.held?.map.size]).toEqual([6, 3]);
});

test.each(['at once', 'after a tick'])(
  'a listener that waits for a reload keeps its backend and its servers when a pass returns to its settings of before %s',
  async (when) => {
    const rig = makeReloadRig();
    const stop = new AbortController();
    const running = when === 'at once' ? [] : [rig.proxy.run(stop.signal)];
    const serving = (): readonly unknown[] => {
      const { map, servers, inMaintenance } = rig.machine.held ?? {
        map: new Map(),
        servers: new Map(),
        inMaintenance: [],
      };
      const [backend] = String(map.get('192.0.2.52|80')).split('|');
      return [backend, servers.has(`${backend}/n1:30081`), ...inMaintenance];
    };
    const prune = (table: TrafficTable): Promise<unknown> =>
      Promise.all([rig.proxy.prune(table, signal), rig.clock.advance(500)]);
    await upsert(rig, tableOf([plain], nodes));
    const tables = [1000, 2000, 3000, 4000, 5000].map((ms) => tableOf([plain, withProfile(ms)], nodes));
    for (const table of tables) {
      await upsert(rig, table);
      await prune(table);
    }
    const before = serving();
    expect(before[1]).toBe(true);
    for (let attempt = 1; attempt <= 3; attempt++) {
      expect((await upsert(rig, tableOf([plain, withProfile(6000)], nodes))).size).toBe(1);
      if (running.length > 0) await rig.clock.advance(2000);
      expect(serving()).toEqual(before);
      await prune(tableOf([plain, withProfile(5000)], nodes));
      expect(serving()).toEqual(before);
    }
    stop.abort();
    await Promise.allSettled(running);
  },
);

test('listeners whose profile waits for a reload are said, new ones and changed ones; with a profile that is there they are served', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  for (let second = 1; second <= 5; second++) await upsert(rig, tableOf([plain, withProfile(second * 1000)], nodes));
  const changed = withProfile(6000);
  const fresh = { ...withProfile(7000), ...listener('192.0.2.54', 80, 30_083, { options: withProfile(7000).options }) };
  const refusals = await upsert(rig, tableOf([plain, changed, fresh], nodes));
  expect([...refusals.keys()].toSorted()).toEqual([changed.key, fresh.key].toSorted());
  const former = [withProfile(5000), { ...fresh, options: undefined }];
  expect(await upsert(rig, tableOf([plain, ...former], nodes))).toEqual(new Map());
  expect(rig.machine.held?.map.size).toBe(3);
  await rig.clock.advance(60_000);
  expect(await upsert(rig, tableOf([plain, changed, fresh], nodes))).toEqual(new Map());
});

test('settings that are withdrawn before their reload cost none', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  for (let second = 1; second <= 6; second++) await upsert(rig, tableOf([plain, withProfile(second * 1000)], nodes));
  expect(rig.reloads()).toBe(5);
  await rig.clock.advance(60 * 60_000);
  for (const table of [[plain, withProfile(5000)], [plain]]) {
    expect(await upsert(rig, tableOf(table, nodes))).toEqual(new Map());
    await rig.clock.advance(60_000);
  }
  expect(rig.reloads()).toBe(5);
});

test('Services with backends of their own never wait for a reload, one after the other and beside a tenant that causes reloads', async () => {
  const rig = makeReloadRig();
  const n1 = node('n1', '192.0.2.11');
  const services = Array.from(
    { length: 520 },
    (_, index) =>
      [localListener(`10.50.${index >> 8}.${index & 255}`, 80, 30_080, `test/s${index}`), { n1: 1 }] as const,
  );
  const tableWith = (count: number, timeoutMs: number): TrafficTable => {
    const local = localTable(services.slice(0, count), [n1]);
    const hostile = withProfile(timeoutMs);
    return { ...local, listeners: local.listeners.with([[hostile.key, hostile]]) };
  };
  for (let change = 1; change <= 7; change++) await upsert(rig, tableWith(1, change * 1000));
  rig.machine.faults.keepsOldWorkers = true;
  for (const count of [16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 512, 513, 520]) {
    const refusals = await upsert(rig, tableWith(count, 7000));
    expect([...refusals.keys()].filter((key) => key !== withProfile(0).key)).toEqual([]);
    await rig.clock.advance(100);
  }
});

test('one namespace leaves no more than four replaced workers; its next reload is when one has ended', async () => {
  const rig = makeReloadRig();
  rig.machine.faults.keepsOldWorkers = true;
  await upsert(rig, tableOf([plain], nodes));
  for (let change = 1; change <= 20; change++) {
    await rig.clock.advance(15 * 60_000);
    await upsert(rig, tableOf([plain, withProfile(change * 1000)], nodes));
  }
  expect([rig.reloads(), rig.machine.oldWorkers.length]).toEqual([4, 4]);
  expect((await upsert(rig, tableOf([plain, withProfile(20_000)], nodes))).get(withProfile(0).key)).toMatch(
    /; 4 workers that reloads have replaced still have connections, 4 of them replaced for namespace test;/,
  );
  expect(await rig.proxy.observe(signal)).toMatchObject({ oldWorkers: 4, oldConnections: 4 });
  rig.machine.oldWorkers.pop();
  expect(await upsert(rig, tableOf([plain, withProfile(20_000)], nodes))).toEqual(new Map());
  expect(rig.reloads()).toBe(5);
});

test('a namespace whose old workers keep connections keeps no other from new settings', async () => {
  const rig = makeReloadRig();
  rig.machine.faults.keepsOldWorkers = true;
  const { options } = withProfile(90_000);
  const other = listener('192.0.2.53', 80, 30_082, { options, service: serviceKey('shop', 'web') });
  for (let change = 1; change <= 20; change++) {
    await rig.clock.advance(15 * 60_000);
    await upsert(rig, tableOf([plain, withProfile(change * 1000)], nodes));
  }
  const table = tableOf([plain, withProfile(20_000), other], nodes);
  expect(await upsert(rig, table)).toEqual(new Map());
  expect(rig.reloads()).toBe(5);
});

test.each<Pick<Profile, 'mode' | 'affinitySeconds'>>([
  { mode: 'http', affinitySeconds: 0 },
  { mode: 'tcp', affinitySeconds: 10_800 },
  { mode: 'http', affinitySeconds: 10_800 },
])(
  '$mode with an affinity of $affinitySeconds s alone needs no reload, and more backends wait for nothing',
  async (usual) => {
    const rig = makeReloadRig();
    rig.machine.faults.keepsOldWorkers = true;
    await upsert(rig, tableOf([plain], nodes));
    for (let change = 1; change <= 6; change++) await upsert(rig, tableOf([plain, withProfile(change * 1000)], nodes));
    const before = rig.reloads();
    const services = Array.from({ length: 9 }, (_, index) => usualListener(`192.0.2.${60 + index}`, usual));
    expect(await upsert(rig, tableOf([plain, ...services.slice(0, 4)], nodes))).toEqual(new Map());
    expect(rig.reloads()).toBe(before);
    expect(await upsert(rig, tableOf([plain, ...services], nodes))).toEqual(new Map());
    expect([rig.reloads(), rig.machine.held?.map.size]).toEqual([before + 1, 10]);
  },
);

test('a tenant that changes its settings all day delays the first settings of another by ten minutes at most', async () => {
  const rig = makeReloadRig();
  const { options } = withProfile(90_000);
  const first = listener('192.0.2.53', 80, 30_082, { options, service: serviceKey('shop', 'web') });
  let change = 0;
  const changeAfter = async (ms: number, ...others: readonly Listener[]): Promise<ReadonlySet<string>> => {
    await rig.clock.advance(ms);
    const refused = await upsert(rig, tableOf([plain, withProfile(1000 + ++change), ...others], nodes));
    return new Set(refused.keys());
  };
  for (let times = 0; times < 400; times++) await changeAfter(30_000);
  for (const lead of [0, 150_000, 300_000, 450_000]) {
    if (lead > 0) await changeAfter(lead);
    const sinceMs = rig.clock.monotonic();
    while ((await changeAfter(10_000, first)).has(first.key));
    expect(rig.clock.monotonic() - sinceMs).toBeLessThanOrEqual(610_000);
    await changeAfter(30_000);
  }
  expect(rig.reloads()).toBeLessThan(40);
});

test('a HAProxy that exits while a reload waits is started with the new program', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  for (let second = 1; second <= 6; second++) await upsert(rig, tableOf([plain, withProfile(second * 1000)], nodes));
  rig.machine.die();
  const other = listener('192.0.2.53', 80, 30_082);
  expect(await upsert(rig, tableOf([plain, other, withProfile(6000)], nodes))).toEqual(new Map());
  expect([rig.reloads(), rig.machine.held?.map.size]).toEqual([5, 3]);
});

test('while HAProxy refuses the configuration, checks and reloads are few, however many changes there are', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  rig.machine.faults.config = () => 'out of memory';
  rig.ran.length = 0;
  for (let change = 1; change <= 20; change++)
    await rig.proxy.upsert(tableOf([plain, withProfile(change * 1000)], nodes), signal);
  expect(rig.ran.filter((each) => each === 'haproxy -c').length).toBeLessThanOrEqual(2);
  expect(rig.reloads()).toBe(0);
});

test('while HAProxy refuses the configuration because of nodes, checks are few, too', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  rig.machine.faults.config = () => 'out of memory';
  rig.ran.length = 0;
  for (let change = 1; change <= 20; change++)
    await rig.proxy.upsert(tableOf([plain], [...nodes, node('n2', `192.0.2.${100 + change}`)]), signal);
  expect(rig.ran.filter((each) => each === 'haproxy -c').length).toBeLessThanOrEqual(2);
  expect(rig.machine.held?.servers.get('nodes4/n2')).toBe('192.0.2.120');
});

test('a reload that fails is tried again after a wait, not with each change', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  rig.machine.faults.portHolder = 'perl';
  rig.ran.length = 0;
  for (let change = 1; change <= 10; change++)
    await rig.proxy.upsert(tableOf([plain, withProfile(change * 1000)], nodes), signal);
  expect(rig.ran.filter((each) => each.startsWith('ss')).length).toBeLessThanOrEqual(2);
});

test('a start takes no file of a program that is neither wanted nor the last one', async () => {
  const rig = makeReloadRig();
  await upsert(rig, tableOf([plain], nodes));
  const path = `${folder}/haproxy.cfg`;
  const text = rig.machine.texts.get(path) ?? '';
  rig.machine.texts.set(path, text.replace(/description ".*"/, 'description "furiwake 0123456789abcdef"'));
  rig.machine.faults.config = () => 'out of memory';
  await Promise.all([rig.proxy.audit(tableOf([plain], nodes), signal), rig.clock.advance(500)]);
  rig.machine.die();
  const { starts } = rig.machine;
  await expect(upsert(rig, tableOf([plain, listener('192.0.2.53', 80, 30_082)], nodes))).rejects.toThrow(
    'out of memory',
  );
  expect(rig.machine.starts).toBe(starts);
});

test.each(['a reload fails', 'a reload waits'])('while %s, a silent node is taken out of use', async (what) => {
  const answers = new Map<string, CheckAnswer>();
  const { machine, proxy, clock } = makeMachineRig({ probed: (address) => answers.get(address) ?? 'alive' });
  const stop = new AbortController();
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  const two = [...nodes, node('n2', '192.0.2.12')];
  const set = async (idleTimeoutMs: number): Promise<void> => {
    const table = tableOf([plain, withProfile(idleTimeoutMs)], two);
    await Promise.all([proxy.upsert(table, stop.signal), clock.advance(500)]);
  };
  await Promise.all([proxy.upsert(tableOf([plain], two), stop.signal), clock.advance(500)]);
  if (what === 'a reload fails') machine.faults.config = () => 'out of memory';
  for (let change = 1; change <= 6; change++) await set(change * 1000);
  await clock.advance(3000);
  const asked: string[] = [];
  machine.faults.command = (command) => {
    asked.push(command);
    return undefined;
  };
  answers.set('192.0.2.12', 'silent');
  await clock.advance(4000);
  expect(asked).toContain('set server nodes4/n2 health down');
  stop.abort();
  await running;
});
