import { expect, test } from 'vitest';
import { type MachineRig, makeMachineRig, upsert } from '../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';
import { noLimits, plainProfile, plainServer } from '../../core/traffic/options.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { CheckAnswer } from '../../ports/health.ts';

const { signal } = new AbortController();
const nodes = [node('n1', '192.0.2.11')];
const plain = listener('192.0.2.51', 80, 30_080);
const other = listener('192.0.2.53', 80, 30_082);
const path = '/run/furiwake/net-1/haproxy/haproxy.cfg';

function withProfile(vip: string, idleTimeoutMs: number): Listener {
  const profile = { ...plainProfile, idleTimeoutMs };
  return listener(vip, 80, 30_081, { options: { limits: noLimits, server: plainServer, profile, isMeasured: false } });
}

const known = withProfile('192.0.2.52', 1000);
const fresh = withProfile('192.0.2.54', 2000);

/** Another furiwake on the same machine. */
function restart({ machine, clock }: MachineRig, probed?: (address: string) => CheckAnswer): MachineRig {
  return makeMachineRig({ machine, clock, ...(probed && { probed }) });
}

const faults = [
  ['whose configuration HAProxy refuses', (rig: MachineRig) => (rig.machine.faults.config = () => 'out of memory')],
  ['with a full disk', (rig: MachineRig) => (rig.machine.faults.isDiskFull = true)],
  ['that cannot reload HAProxy', (rig: MachineRig) => (rig.machine.faults.portHolder = 'perl')],
] as const;

test.each(faults)('a furiwake %s uses the HAProxy of an earlier one; only what that lacks waits', async (_, fail) => {
  const first = makeMachineRig();
  await upsert(first, tableOf([plain, known], nodes));
  const rig = restart(first);
  fail(rig);
  const table = tableOf([plain, known, other, fresh], [...nodes, node('n2', '192.0.2.12')]);
  for (let time = 0; time < 3; time++)
    expect([...(await upsert(rig, table))]).toEqual([
      [fresh.key, expect.stringMatching(/^idle-timeout=2000ms needs a reload of HAProxy; the last one failed: /)],
    ]);
  await rig.proxy.prune(table, signal);
  const { map, servers } = rig.machine.held ?? {};
  expect([map?.size, servers?.get('nodes4/n2'), rig.machine.starts]).toEqual([3, '192.0.2.12', 1]);
  expect(rig.proxy.trouble()).toBeUndefined();
  Object.assign(rig.machine.faults, { config: () => undefined, isDiskFull: false, portHolder: undefined });
  await rig.clock.advance(60_000);
  expect(await upsert(rig, table)).toEqual(new Map());
  expect(rig.machine.held?.map.size).toBe(4);
});

test('a furiwake with another program, as after an upgrade, reloads the HAProxy of an earlier one, and uses it if that fails', async () => {
  const first = makeMachineRig();
  await upsert(first, tableOf([plain, known], nodes));
  const { machine } = first;
  machine.texts.set(
    path,
    (machine.texts.get(path) ?? '').replace(/description ".*"/, 'description "furiwake 0123456789abcdef"'),
  );
  machine.kill(machine.held?.pid ?? 0, 'SIGUSR2');
  const rig = restart(first);
  machine.faults.isDiskFull = true;
  const table = tableOf([plain, known, other], nodes);
  expect(await upsert(rig, table)).toEqual(new Map());
  const { starts } = machine;
  machine.faults.isDiskFull = false;
  await rig.clock.advance(60_000);
  expect(await upsert(rig, table)).toEqual(new Map());
  expect([machine.starts, machine.held?.map.size]).toEqual([starts + 1, 3]);
});

test.each<[string, (rig: MachineRig) => void]>([
  ['configuration of a new furiwake is refused', () => undefined],
  ['disk is full', ({ machine }) => (machine.faults.isDiskFull = true)],
])('while the %s, checks of it are few, and nodes are followed', async (_, fail) => {
  const first = makeMachineRig({ probed: 'alive' });
  const two = [...nodes, node('n2', '192.0.2.12')];
  await upsert(first, tableOf([plain, known], two));
  const answers = new Map<string, CheckAnswer>();
  const rig = restart(first, (address) => answers.get(address) ?? 'alive');
  let checks = 0;
  rig.machine.faults.config = () => {
    checks++;
    return 'out of memory';
  };
  fail(rig);
  const stop = new AbortController();
  const running = Promise.allSettled([rig.proxy.run(stop.signal)]);
  for (let port = 1; port <= 20; port++)
    await rig.proxy.upsert(tableOf([plain, known, fresh, listener('192.0.2.60', port, 30_080)], two), signal);
  expect(checks).toBeLessThanOrEqual(2);
  await rig.clock.advance(3000);
  const asked: string[] = [];
  rig.machine.faults.command = (command) => {
    asked.push(command);
    return undefined;
  };
  answers.set('192.0.2.12', 'silent');
  await rig.clock.advance(6000);
  expect(asked).toContain('set server nodes4/n2 health down');
  stop.abort();
  await running;
});

test('a HAProxy of another program is never used', async () => {
  const first = makeMachineRig();
  await upsert(first, tableOf([plain], nodes));
  const { machine } = first;
  machine.texts.set(
    path,
    (machine.texts.get(path) ?? '').replace(/description ".*"/, 'description "furiwake 0123456789abcdef -"'),
  );
  machine.kill(machine.held?.pid ?? 0, 'SIGUSR2');
  machine.faults.config = () => 'out of memory';
  await expect(upsert(restart(first), tableOf([plain, other], nodes))).rejects.toThrow('out of memory');
});
