import { expect, test } from 'vitest';
import { addressesOf } from '../../../test/netns/rows.ts';
import { virtualClock, type VirtualClock } from '../../../test/sim/virtual-clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Log } from '../../ports/log.ts';
import { type HostAnnouncer, makeAnnouncer } from './announcer.ts';

const { signal } = new AbortController();
const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

/** A host that remembers in which order things were asked of it. */
function makeRig(): {
  readonly announcer: HostAnnouncer;
  readonly clock: VirtualClock;
  readonly done: string[];
  readonly failNext: () => void;
} {
  const clock = virtualClock();
  const done: string[] = [];
  let fails = false;
  let record: string | undefined;
  const exec: Exec = {
    run: (_, args, { stdin }) => {
      done.push(stdin === undefined ? 'list' : stdin.trimEnd());
      if (fails && stdin !== undefined) {
        fails = false;
        return Promise.reject(new ExecError('ip', 1, 'no'));
      }
      return Promise.resolve({ stdout: args.includes('-json') ? '[]' : '', stderr: '' });
    },
    converse: () => {
      throw new Error('nothing to announce: no interface');
    },
  };
  const files = {
    read: () => Promise.resolve(record),
    write: (_: string, text: string) => {
      done.push('record');
      record = text;
      return Promise.resolve();
    },
    append: () => Promise.reject(new Error('not asked for')),
    remove: () => {
      record = undefined;
      return Promise.resolve();
    },
    makeFolder: () => Promise.resolve(),
  };
  const announcer = makeAnnouncer({ exec, files, folder: '/state', clock, log: silent, lifetime: signal });
  return { announcer, clock, done, failNext: () => (fails = true) };
}

test('an address is recorded before it is added', async () => {
  const { announcer, done } = makeRig();
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  expect(done[1]).toBe('record');
  expect(done.at(-1)).toBe('address add 192.0.2.50/32 dev furiwake0 scope link');
});

test('an address that is there costs nothing', async () => {
  const { announcer, done } = makeRig();
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  const before = done.length;
  expect([...(await announcer.added(addressesOf('192.0.2.50'), signal)).keys()]).toEqual(['192.0.2.50']);
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  await announcer.release(addressesOf('192.0.2.50'), signal);
  expect(done).toHaveLength(before);
});

test('a burst of new addresses costs one look at the host, a later one another', async () => {
  const { announcer, clock, done } = makeRig();
  for (const text of ['192.0.2.50', '192.0.2.51', '192.0.2.52']) await announcer.ensure(addressesOf(text), signal);
  expect(done.filter((what) => what === 'list')).toHaveLength(1);
  await clock.advance(1500);
  await announcer.ensure(addressesOf('192.0.2.53'), signal);
  expect(done.filter((what) => what === 'list')).toHaveLength(2);
});

test('several addresses are added by one call of ip', async () => {
  const { announcer, done } = makeRig();
  await announcer.ensure(addressesOf('192.0.2.50', '2001:db8::50'), signal);
  expect(done.at(-1)?.split('\n')).toEqual([
    'address add 192.0.2.50/32 dev furiwake0 scope link',
    'address add 2001:db8::50/128 dev furiwake0 preferred_lft 0 nodad',
  ]);
});

test('after a failure the host is looked at again, and what is missing is added', async () => {
  const { announcer, done, failNext } = makeRig();
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  failNext();
  await expect(announcer.ensure(addressesOf('192.0.2.51'), signal)).rejects.toThrow(ExecError);
  await announcer.ensure(addressesOf('192.0.2.51'), signal);
  expect(done.filter((what) => what === 'list')).toHaveLength(2);
  expect(done.at(-1)).toContain('192.0.2.51/32');
});

test('a kernel without dummy interfaces gets a bridge', async () => {
  const { announcer, done, failNext } = makeRig();
  failNext();
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  expect(done.filter((what) => what.startsWith('link add'))).toEqual([
    'link add furiwake0 type dummy',
    'link add furiwake0 type bridge',
  ]);
});
