import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeHostView } from './host-view.ts';

test('the end of furiwake while a tool hangs rejects an answer under way, and nothing else', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  const never = (): Promise<never> => new Promise(() => undefined);
  const view = makeHostView({
    process: { version: '', pid: 1, loadBalancerClass: '' },
    cluster: () => undefined,
    notReady: () => [],
    parts: () => undefined,
    agent: {} as Parameters<typeof makeHostView>[0]['agent'],
    proxy: { observe: never, serverCounters: never, trouble: () => undefined },
    counters: (signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    clock: virtualClock(),
  });
  const end = new AbortController();
  const answer = view.metrics(end.signal);
  end.abort(new Error('the end'));
  await expect(answer).rejects.toThrow('the end');
  await setImmediate();
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});
