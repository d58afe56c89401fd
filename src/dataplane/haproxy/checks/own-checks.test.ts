import { expect, test } from 'vitest';
import { withOptions } from '../../../../test/make/options.ts';
import { listener, node, tableOf } from '../../../../test/make/table.ts';
import type { RuntimeApi } from '../runtime/client.ts';
import { type Desired, planDesired } from '../config/desired.ts';
import { makeOwnChecks } from './own-checks.ts';

const settings = { folder: '/', maxConnections: 1, idleTimeoutSeconds: 1, hasIpv6: true, account: undefined };
const nodes = [node('n1', '192.0.2.1')];
const check = { intervalMs: 2000, fall: 3, rise: 2 };
const checked = Array.from({ length: 51 }, (_, index) =>
  withOptions(`10.50.1.${index}`, 80, 30_080, { server: { check } }),
);
const plain = [listener('10.50.0.1', 80, 30_080), withOptions('10.50.0.2', 80, 30_080, { server: { slowStartMs: 1 } })];
const { signal } = new AbortController();

/** HAProxy with some backends that are down; `asked`: how many each question was about. */
function makeApi(isDown: (name: string) => boolean): RuntimeApi & { readonly asked: number[] } {
  const asked: number[] = [];
  return {
    asked,
    ask: async (commands) => {
      asked.push(commands.length);
      return commands.map((command) => {
        const [, name = ''] = /^show stat (\S+) 2 -1$/.exec(command) ?? [];
        return `# pxname,svname,status\n${name},BACKEND,${isDown(name) ? 'DOWN' : 'UP'}`;
      });
    },
    perform: async () => new Map(),
    replaceMap: async () => true,
  };
}

function plan(table: Parameters<typeof tableOf>[0], before?: Desired): Desired {
  return planDesired(settings, tableOf(table, nodes), before);
}

test('only backends whose servers have checks of their own are asked about, 50 at a time', async () => {
  const api = makeApi(() => true);
  const checks = makeOwnChecks({ api });
  let told = 0;
  checks.subscribe(() => told++);
  const desired = plan([...plain, ...checked]);
  await checks.look(desired, signal);
  expect(checks.failing().size).toBe(50);
  await checks.look(desired, signal);
  expect(checks.failing()).toEqual(new Set(checked.map(({ key }) => key)));
  expect([api.asked, told]).toEqual([[50, 1], 2]);
});

test('the result is the same object while nothing changes, and follows new and removed listeners', async () => {
  let down = true;
  const checks = makeOwnChecks({ api: makeApi(() => down) });
  const [one, two] = [checked[0]!, checked[1]!];
  const desired = plan([one]);
  await checks.look(desired, signal);
  const first = checks.failing();
  await checks.look(desired, signal);
  expect(checks.failing()).toBe(first);
  const both = plan([one, two], desired);
  await checks.look(both, signal);
  expect(checks.failing()).toEqual(new Set([one.key, two.key]));
  const other = plan([two], both);
  await checks.look(other, signal);
  expect(checks.failing()).toEqual(new Set([two.key]));
  down = false;
  await checks.look(other, signal);
  expect(checks.failing()).toEqual(new Set());
});
