import { expect, test } from 'vitest';
import { leaseOf, makeScene, messages, startLeading } from '../../test/make/leading-hosts.ts';
import { makeMachine } from '../../test/make/machine.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { makeIdentityFile } from '../state/identity.ts';
import { newIdentity } from './identity.ts';

const path = '/state/identity.jsonl';
const machineId = '0123456789abcdef0123456789abcdef';
const uuid = '/sys/class/dmi/id/product_uuid';

/** The identity on a machine with these files, and a random part of its own; `keeps`: as a start does. */
async function identity(
  texts: Map<string, string>,
  { hostname = 'lb1', random = 'random', keeps = false } = {},
): Promise<string> {
  const files = filesOf(texts);
  const file = makeIdentityFile({ path, earlierPath: '/state/identity', files, log: recordLog() });
  const name = (await file.read()) ?? (await newIdentity(makeMachine({ files, hostname, newId: () => random })));
  if (keeps) await file.write(name);
  return name;
}

const machine = (id = machineId, more: readonly (readonly [string, string])[] = []): Map<string, string> =>
  new Map([['/etc/machine-id', `${id}\n`], ...more]);

test('a machine that has lost its state directory has the same identity again', async () => {
  const texts = machine();
  const first = await identity(texts, { keeps: true });
  expect(first).toMatch(/^lb1_[0-9a-f]{16}$/);
  expect(first).not.toContain(machineId.slice(0, 8));
  texts.delete(path);
  expect(await identity(texts, { random: 'another' })).toBe(first);
});

test('a host that crashed and lost its state directory takes its own Lease at once, and counts itself as alone', async () => {
  const scene = makeScene();
  const texts = machine();
  scene.cluster.lease = leaseOf(await identity(texts, { keeps: true }), 'long ago');
  texts.delete(path);
  const host = startLeading(scene, await identity(texts, { random: 'another' }));
  await scene.clock.advance(100);
  expect([host.terms, host.isServing]).toEqual([1, true]);
  await scene.clock.advance(30_000);
  expect([host.changes, host.answersUntilMs, messages(host, 'warn')]).toEqual([[], undefined, []]);
});

test.each([
  ['machine ID', machine('f'.repeat(32)), {}],
  ['host name', machine(), { hostname: 'lb2' }],
  ['UUID of the product, as clones of a virtual machine have', machine(machineId, [[uuid, '4C4C4544-0000\n']]), {}],
])('another %s is another identity', async (_, texts, host) => {
  expect(await identity(texts, host)).not.toBe(await identity(machine()));
});

test.each([
  ['without a machine ID', new Map<string, string>()],
  ['at its first boot', machine('uninitialized')],
])('a machine %s has a random identity, which it keeps', async (_, texts) => {
  expect(await identity(texts, { keeps: true })).toBe('lb1_random');
  expect(await identity(texts, { random: 'another' })).toBe('lb1_random');
});

test('an identity on the disk stays as it is', async () => {
  const texts = machine();
  texts.set(path, '{"file":"identity","version":1}\n{"name":"old_a"}\n');
  expect(await identity(texts, { hostname: 'renamed', keeps: true })).toBe('old_a');
});
