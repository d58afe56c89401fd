import { expect, test } from 'vitest';
import type { HaproxyMachine } from '../../../test/make/haproxy-machine.ts';
import { makeMachineRig, upsert } from '../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../test/make/table.ts';
import { noLimits, plainProfile, plainServer } from '../../core/traffic/options.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { CheckAnswer } from '../../ports/health.ts';

/* furiwake restarts, and HAProxy serves on. */

const { signal } = new AbortController();
const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
const [one, two] = [listener('192.0.2.51', 80, 30_080), listener('192.0.2.52', 80, 30_080)];
const special: Listener = {
  ...listener('192.0.2.53', 80, 30_081),
  options: {
    limits: noLimits,
    server: plainServer,
    profile: { ...plainProfile, idleTimeoutMs: 60_000 },
    isMeasured: false,
  },
};

async function makeRunning(): Promise<HaproxyMachine> {
  const rig = makeMachineRig({ probed: 'alive' });
  await upsert(rig, tableOf([one], nodes));
  return rig.machine;
}

const faults: readonly (readonly [string, Partial<HaproxyMachine['faults']>])[] = [
  ['HAProxy refuses the configuration', { config: () => 'out of memory' }],
  ['the disk is full', { isDiskFull: true }],
];

test.each(faults)(
  'if %s, only the listener that needs another program is refused, and nodes are followed; it recovers within half a minute',
  async (_, fault) => {
    const machine = await makeRunning();
    Object.assign(machine.faults, fault);
    const answers = new Map<string, CheckAnswer>();
    const rig = makeMachineRig({ machine, probed: (address) => answers.get(address) ?? 'alive' });
    const table = tableOf([two, special], nodes);
    expect([...(await upsert(rig, table)).keys()]).toEqual([special.key]);
    await rig.proxy.prune(table, signal);
    expect([...(machine.held?.map.keys() ?? [])]).toEqual(['192.0.2.52|80']);

    const stop = new AbortController();
    const running = Promise.allSettled([rig.proxy.run(stop.signal)]);
    await rig.clock.advance(3_000);
    const orders: string[] = [];
    machine.faults.command = (command) => {
      orders.push(command);
      return undefined;
    };
    answers.set('192.0.2.12', 'silent');
    await rig.clock.advance(4_000);
    expect(orders).toContain('set server nodes4/n2 health down');
    Object.assign(machine.faults, { config: () => undefined, isDiskFull: false });
    await rig.clock.advance(30_000);
    expect(await upsert(rig, table)).toEqual(new Map());
    expect(machine.held?.map.size).toBe(2);
    stop.abort();
    await running;
  },
);
