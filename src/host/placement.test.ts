import { expect, test } from 'vitest';
import { silent } from '../../test/make/log.ts';
import { addressesOf } from '../../test/make/table.ts';
import { virtualClock, type VirtualClock } from '../../test/sim/virtual-clock.ts';
import { type Conversation, type Exec, ExecError } from '../ports/exec.ts';
import { type HostAnnouncer, makeAnnouncer } from './announcer.ts';

const { signal } = new AbortController();
/** `ip -batch -`, which answers only the last of the commands, and ends when one fails. */
function ipSession(done: string[], fails: (commands: string) => boolean): Conversation {
  const answers: string[] = [];
  let hasEnded = false;
  return {
    pid: 1,
    write: async (text) => {
      const commands = text.trimEnd().split('\n');
      expect(commands.pop()).toBe('link show dev lo');
      done.push(commands.join('\n'));
      hasEnded = fails(text);
      if (!hasEnded) answers.push('1: lo: <LOOPBACK,UP,LOWER_UP>');
    },
    lines: {
      [Symbol.asyncIterator]: () => ({
        next: async () =>
          hasEnded ? { done: true, value: undefined } : { done: false, value: answers.shift() ?? expect.unreachable() },
      }),
    },
    takeErrors: () => 'no',
    exited: Promise.resolve(1),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** A host that remembers in which order things were asked of it. */
function makeRig(): {
  readonly announcer: HostAnnouncer;
  readonly clock: VirtualClock;
  readonly done: string[];
  /** The next call with these words in a command of its fails. */
  readonly failAt: (words: string) => void;
} {
  const clock = virtualClock();
  const done: string[] = [];
  let failing: string | undefined;
  const takeFailure = (commands: string): boolean => {
    if (failing === undefined || !commands.includes(failing)) return false;
    failing = undefined;
    return true;
  };
  let record: string | undefined;
  const exec: Exec = {
    run: (_, args, { stdin }) => {
      done.push(stdin === undefined ? 'list' : stdin.trimEnd());
      if (stdin !== undefined && takeFailure(stdin)) return Promise.reject(new ExecError('ip', 1, 'no'));
      return Promise.resolve({ stdout: args.includes('-json') ? '[]' : '', stderr: '' });
    },
    converse: () => ipSession(done, takeFailure),
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
  return { announcer, clock, done, failAt: (words) => (failing = words) };
}

test('an address is recorded before it is added', async () => {
  const { announcer, done } = makeRig();
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  expect(done[1]).toBe('record');
  expect(done.at(-1)).toBe('address add 192.0.2.50/32 dev furiwake0 scope link');
});

test('an address can be recorded ahead: then it is added without a wait for the disk', async () => {
  const { announcer, done } = makeRig();
  await announcer.prepare(addressesOf('192.0.2.50'), signal);
  expect(done.at(-1)).toBe('record');
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  expect(done.filter((what) => what === 'record')).toHaveLength(1);
  expect(done.at(-1)).toBe('address add 192.0.2.50/32 dev furiwake0 scope link');
});

test('an address that was recorded ahead and never added is forgotten when it goes', async () => {
  const { announcer, done } = makeRig();
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  await announcer.release(addressesOf('192.0.2.50'), signal);
  await announcer.prepare(addressesOf('192.0.2.50', '192.0.2.51'), signal);
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  await announcer.release(addressesOf('192.0.2.50'), signal);
  expect([...(await announcer.recorded(addressesOf('192.0.2.50', '192.0.2.51'), signal)).keys()]).toEqual([
    '192.0.2.50',
  ]);
  expect(done.join()).not.toContain('192.0.2.51');
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
  const { announcer, done, failAt } = makeRig();
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  failAt('address add');
  await expect(announcer.ensure(addressesOf('192.0.2.51'), signal)).rejects.toThrow(ExecError);
  done.length = 0;
  await announcer.ensure(addressesOf('192.0.2.51'), signal);
  expect(done[0]).toBe('list');
  expect(done.at(-1)).toContain('192.0.2.51/32');
});

test('a kernel without dummy interfaces gets a bridge', async () => {
  const { announcer, done, failAt } = makeRig();
  failAt('type dummy');
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  expect(done.filter((what) => what.startsWith('link add'))).toEqual([
    'link add furiwake0 type dummy',
    'link add furiwake0 type bridge',
  ]);
});

test('a kernel without IPv6, which refuses the command that is of IPv6, gets its addresses', async () => {
  const { announcer, done, failAt } = makeRig();
  failAt('addrgenmode none');
  await announcer.ensure(addressesOf('192.0.2.50'), signal);
  expect(done.slice(-2)).toEqual(['link set furiwake0 up', 'address add 192.0.2.50/32 dev furiwake0 scope link']);
});

test('a thousand addresses are spread over interfaces, which go with their last address', async () => {
  const { announcer, done } = makeRig();
  const many = addressesOf(...Array.from({ length: 1_001 }, (_, index) => `10.50.${index >> 8}.${index & 255}`));
  await announcer.ensure(many, signal);
  const onInterface = (name: string): number => done.join('\n').split(` dev ${name} scope`).length - 1;
  expect(['furiwake0', 'furiwake1', 'furiwake2', 'furiwake3'].map(onInterface)).toEqual([500, 500, 1, 0]);
  done.length = 0;
  await announcer.release(addressesOf('10.50.0.0'), signal);
  const left = done.join('\n').match(/link delete \w+/g);
  expect(left).toHaveLength(2);
  expect(done.join('\n').match(/address delete/g)).toHaveLength(1_000);
});
