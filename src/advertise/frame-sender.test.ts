import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Log } from '../ports/log.ts';
import { makeFrameSender } from './frame-sender.ts';

const frame = (index: number): { index: number; bytes: Uint8Array } => ({ index, bytes: Uint8Array.of(0xab, index) });

function makeRig(write: () => Promise<void> = () => Promise.resolve()) {
  const clock = virtualClock();
  const lifetime = new AbortController();
  const sent: string[] = [];
  const warnings: string[] = [];
  const processes = { started: 0, ended: 0, errors: '', exited: new Promise<undefined>(() => undefined) };
  const exec: Exec = {
    run: () => Promise.reject(new Error('not used')),
    spawn: () => {
      processes.started++;
      return {
        pid: 1,
        write: async (text) => {
          await write();
          sent.push(`${clock.monotonic()} ${text.trimEnd().replaceAll('\n', ', ')}`);
        },
        lines: (async function* () {})(),
        takeErrors: async () => processes.errors,
        exited: processes.exited,
        [Symbol.asyncDispose]: () => Promise.resolve(void processes.ended++),
      };
    },
  };
  const log: Log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (_, message) => void warnings.push(message),
    error: () => undefined,
    failing: () => undefined,
    child: () => log,
  };
  const sender = makeFrameSender({ exec, clock, log, lifetime: lifetime.signal });
  return { sender, clock, lifetime, sent, warnings, processes };
}

test('sends a batch three times within two seconds and then ends its process', async () => {
  const { sender, clock, sent, processes, warnings } = makeRig();
  void sender.announce([frame(1), frame(2)]);
  await clock.advance(5000);
  expect(sent).toEqual(['0 1 ab01, 2 ab02', '700 1 ab01, 2 ab02', '1400 1 ab01, 2 ab02']);
  expect(processes).toMatchObject({ started: 1, ended: 1 });
  expect(warnings).toEqual([]);
});

test('sends a second batch at once, with the same process', async () => {
  const { sender, clock, sent, processes } = makeRig();
  void sender.announce([frame(1)]);
  await clock.advance(100);
  void sender.announce([frame(2)]);
  await clock.advance(0);
  expect(sent).toEqual(['0 1 ab01', '100 2 ab02']);
  await clock.advance(5000);
  expect(processes).toMatchObject({ started: 1, ended: 1 });
});

test('starts no process without frames', async () => {
  const { sender, clock, processes } = makeRig();
  void sender.announce([]);
  await clock.advance(5000);
  expect(processes.started).toBe(0);
});

test('logs a failed batch, and sends the next one nevertheless', async () => {
  let isBroken = true;
  const { sender, clock, sent, warnings } = makeRig(() =>
    isBroken ? Promise.reject(new Error('EPIPE')) : Promise.resolve(),
  );
  void sender.announce([frame(1)]);
  await clock.advance(5000);
  isBroken = false;
  void sender.announce([frame(2)]);
  await clock.advance(5000);
  expect(warnings).toEqual(['announcing addresses failed; retrying']);
  expect(sent).toHaveLength(3);
});

test('a perl that does not read is ended, and the next batch gets another', async () => {
  let isStuck = true;
  const { sender, clock, sent, warnings, processes } = makeRig(() =>
    isStuck ? new Promise(() => undefined) : Promise.resolve(),
  );
  void sender.announce([frame(1)]);
  await clock.advance(10_000);
  expect(warnings).toEqual(['announcing addresses failed; retrying']);
  isStuck = false;
  void sender.announce([frame(2)]);
  await clock.advance(5000);
  expect(processes).toMatchObject({ started: 2, ended: 2 });
  expect(sent).toHaveLength(3);
});

test('logs the error of perl, once while it lasts', async () => {
  const { sender, clock, warnings, processes } = makeRig();
  processes.errors = 'interface 1: No such device\ninterface 1: No such device';
  for (let count = 0; count < 5; count++) {
    void sender.announce([frame(1)]);
    await clock.advance(5000);
  }
  expect(warnings).toEqual(['announcing addresses failed; retrying']);
});

test('a perl that cannot start is the failure until a batch could be sent', async () => {
  const { sender, clock, warnings, processes } = makeRig();
  Object.assign(processes, { errors: 'spawn perl EACCES', exited: Promise.resolve(undefined) });
  const announced = sender.announce([frame(1)]);
  await clock.advance(5000);
  expect(await announced).toBe(false);
  expect(sender.failure()).toBe('perl: spawn perl EACCES');
  expect(warnings).toEqual(['announcing addresses failed; retrying']);
  Object.assign(processes, { errors: '', exited: new Promise(() => undefined) });
  const next = sender.announce([frame(1)]);
  await clock.advance(5000);
  expect(await next).toBe(true);
  expect(sender.failure()).toBeUndefined();
});

test('stops, silently, at the end of its lifetime', async () => {
  const { sender, clock, lifetime, sent, warnings, processes } = makeRig();
  processes.errors = 'The operation was aborted';
  void sender.announce([frame(1)]);
  await clock.advance(100);
  lifetime.abort();
  await clock.advance(5000);
  expect(sent).toHaveLength(1);
  expect(warnings).toEqual([]);
});
