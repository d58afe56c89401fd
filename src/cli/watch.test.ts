import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { StartError } from '../daemon/errors.ts';
import { watchStatus } from './watch.ts';

/** A watch in virtual time. `answer`: the next answers; `written`: what was written since the last look. */
function startWatch(first: object | StartError, { rows }: { readonly rows?: number } = {}) {
  const clock = virtualClock();
  const stop = new AbortController();
  let answer = first;
  let asked = 0;
  let texts: string[] = [];
  const ended = watchStatus(
    {
      ask: async () => {
        asked++;
        if (answer instanceof StartError) throw answer;
        return JSON.stringify(answer);
      },
      format: (text) => `${text}\n`,
      rows: () => rows,
      write: async (text) => void texts.push(text),
      clock,
    },
    stop.signal,
  );
  ended.catch(() => undefined); // a test may await it
  return {
    ended,
    stop: (reason: unknown) => stop.abort(reason),
    asked: () => asked,
    after: async (seconds: number, next?: object | StartError): Promise<readonly string[]> => {
      if (next !== undefined) answer = next;
      await clock.advance(seconds * 1000);
      const written = texts;
      texts = [];
      return written;
    },
  };
}

test('on a pipe there is a block for each change; time alone is none', async () => {
  const watch = startWatch({ at: '1', upSeconds: 1, nodes: [{ state: 'up', since: '1' }] });
  expect(await watch.after(0)).toEqual(['{"at":"1","upSeconds":1,"nodes":[{"state":"up","since":"1"}]}\n']);
  expect(await watch.after(2, { at: '3', upSeconds: 3, nodes: [{ state: 'up', since: '2' }] })).toEqual([]);
  expect(await watch.after(2, { at: '5', nodes: [{ state: 'silent' }] })).toEqual([
    '\n{"at":"5","nodes":[{"state":"silent"}]}\n',
  ]);
});

test('a terminal is cleared once, redrawn every two seconds, and never scrolls', async () => {
  const watch = startWatch({ at: '1' }, { rows: 3 });
  expect(await watch.after(0)).toEqual(['\u001b[2J\u001b[H{"at":"1"}\u001b[K\n\u001b[J']);
  expect(await watch.after(2)).toEqual(['\u001b[H{"at":"1"}\u001b[K\n\u001b[J']);
});

test('a furiwake that stops answering is shown once, and asked again after growing waits', async () => {
  const watch = startWatch({ nodes: 1 });
  await watch.after(0);
  expect(await watch.after(2, new StartError('furiwake is not running'))).toEqual([
    '\nerror: furiwake is not running\n',
  ]);
  expect(await watch.after(60)).toEqual([]);
  expect(watch.asked()).toBe(7);
  expect(await watch.after(30, { nodes: 1 })).toEqual(['\n{"nodes":1}\n']);
  await watch.after(2);
  expect(watch.asked()).toBe(9);
});

test('a first answer that fails ends it, and so does the signal', async () => {
  await expect(startWatch(new StartError('furiwake is not running')).ended).rejects.toThrow('furiwake is not running');
  const watch = startWatch({});
  await watch.after(0);
  watch.stop(new Error('interrupted'));
  await expect(watch.ended).rejects.toThrow('interrupted');
});
