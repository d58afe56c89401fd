import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { tryClaim, whileClaiming } from './claim.ts';

const { signal } = new AbortController();
const uniqueName = (): string => `test ${crypto.randomUUID()}`;

test('a name has one holder at a time, and is free again after its release', async () => {
  const name = uniqueName();
  {
    await using first = await take(name);
    expect(first).toBeDefined();
    expect(await tryClaim(name)).toEqual({ heldBy: process.pid });
  }
  await using second = await take(name);
  expect(second).toBeDefined();
});

test('a waiting process learns the holder, and gets the name when the holder is done', async () => {
  const name = uniqueName();
  const order: string[] = [];
  const first = await take(name);
  const waitedFor = Promise.withResolvers<number>();
  const second = whileClaiming(name, {
    signal,
    onWait: (pid) => waitedFor.resolve(pid),
    work: async () => order.push('second'),
  });
  expect(await waitedFor.promise).toBe(process.pid);
  await tryClaim(name); // an answer to this connection means that the waiting process is also connected
  order.push('first done');
  await first[Symbol.asyncDispose]();
  await second;
  expect(order).toEqual(['first done', 'second']);
});

test('waiting ends with the signal', async () => {
  const name = uniqueName();
  await using held = await take(name);
  const stop = new AbortController();
  const waiting = whileClaiming(name, {
    signal: stop.signal,
    onWait: () => stop.abort(new Error('enough')),
    work: () => Promise.resolve(),
  });
  await expect(waiting).rejects.toThrow('enough');
  expect(held).toBeDefined();
});

test('the name of a process that was killed is free', async () => {
  const name = uniqueName();
  const script = `
    const { tryClaim } = await import(${JSON.stringify(import.meta.resolve('./claim.ts'))});
    globalThis.held = await tryClaim(${JSON.stringify(name)});
    setInterval(() => undefined, 1000);
    console.log('held');`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  expect(await tryClaim(name)).toEqual({ heldBy: child.pid });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await using claim = await take(name);
  expect(claim).toBeDefined();
});

async function take(name: string): Promise<AsyncDisposable> {
  const claim = await tryClaim(name);
  if ('heldBy' in claim) throw new Error(`${name} is held by ${claim.heldBy}`);
  return claim;
}
