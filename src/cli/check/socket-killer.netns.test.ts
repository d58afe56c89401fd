import { expect, test } from 'vitest';
import { systemExec } from '../../main/node/exec.ts';

/** What the check finds in a network namespace of its own, in which `prepare` has run. */
async function find(prepare: string): Promise<unknown> {
  const source = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const script = `
    import { checkSocketKiller } from ${source('./socket-killer.ts')};
    import { systemExec } from ${source('../../main/node/exec.ts')};
    import { systemClock } from ${source('../../main/node/clock.ts')};
    const found = await checkSocketKiller(systemExec, systemClock, new AbortController().signal);
    console.log(JSON.stringify(found));
  `;
  const run = `${prepare} && exec "$0" --input-type=module --eval "$1"`;
  const args = ['--net', 'sh', '-c', run, process.execPath, script];
  const { stdout } = await systemExec.run('unshare', args, { signal: AbortSignal.timeout(30_000), timeoutMs: 30_000 });
  return JSON.parse(stdout);
}

test('ss -K ends a connection of a host whose loopback interface is up', async () => {
  expect(await find('ip link set lo up')).toMatchObject({ mark: 'ok' });
});

test('where the loopback interface is down, ss -K is not blamed', async () => {
  expect(await find('true')).toEqual({
    mark: 'problem',
    found: expect.stringMatching(
      /^not tried, this host cannot connect to itself: network is unreachable \(127\.0\.0\.1:\d+\)$/,
    ),
    advice: expect.stringContaining('ip link set lo up'),
  });
});
