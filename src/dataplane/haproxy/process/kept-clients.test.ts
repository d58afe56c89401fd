import { expect, test } from 'vitest';
import { makeMachineRig } from '../../../../test/make/haproxy-rig.ts';
import { withOptions } from '../../../../test/make/options.ts';
import { node, tableOf } from '../../../../test/make/table.ts';
import { RuntimeError } from '../runtime/client.ts';

test.each([
  ['answers', Infinity],
  ['does not answer at first', 1],
])('a HAProxy that was started after a death, and %s, gets the servers of clients', async (_, silentAt) => {
  const { machine, proxy, clock } = makeMachineRig();
  const stop = new AbortController();
  const given: string[] = [];
  let readings = 0;
  machine.faults.command = (command) => {
    if (command === 'show map' && machine.starts === 2 && ++readings === silentAt)
      throw new RuntimeError('silent', 'no answer within 3 s');
    if (command.startsWith('set table affinity')) given.push(command);
    if (command !== 'show table affinity4-600') return undefined;
    const [spare, server] = [...(machine.held?.servers.keys() ?? [])].at(-1)?.split('/') ?? [];
    const row = `0x1: key=7F000001|${spare} use=0 exp=1 server_id=1 server_key=${server}`;
    return ['# table: affinity4-600, type: string, size:102400, used:1', ...(machine.starts === 1 ? [row] : [])].join(
      '\n',
    );
  };
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  const web = withOptions('192.0.2.51', 80, 80, { profile: { affinitySeconds: 600 } });
  await Promise.all([proxy.upsert(tableOf([web], [node('n1', '192.0.2.11')]), stop.signal), clock.advance(8_000)]);
  machine.die();
  await clock.advance(20_000);
  expect(given).toEqual([expect.stringContaining('set table affinity4-600 key 7F000001|spare4.')]);
  expect(machine.starts).toBe(2);
  stop.abort();
  await running;
});
