import { expect, test } from 'vitest';
import { makeMachineRig } from '../../../../test/make/haproxy-rig.ts';
import { node, tableOf } from '../../../../test/make/table.ts';

const header = '# pxname,svname,scur,stot,status,check_status,last_chk,addr,';
const up = 'UP,L7OK,,';
const silent = 'DOWN,L4TOUT,,';
const reset = 'shutdown sessions server nodes4/n2';

/** The resets that HAProxy is asked for in 20 s, while its check of n2 finds `found`, given the number of resets that are due. */
async function resetsWhile(found: (asked: number) => string): Promise<readonly string[]> {
  const { machine, proxy, clock, log } = makeMachineRig();
  const stop = new AbortController();
  const resets: string[] = [];
  let asked = 0;
  machine.faults.command = (command) => {
    if (command.startsWith('shutdown')) resets.push(command);
    if (!command.startsWith('show stat nodes4')) return undefined;
    const isDue = log.lines.some(({ message }) => message.includes('its connections were ended'));
    if (isDue) asked++;
    return [header, `nodes4,n1,0,0,${up}192.0.2.11,`, `nodes4,n2,0,0,${found(asked)}192.0.2.12,`].join('\n');
  };
  const running = Promise.allSettled([proxy.run(stop.signal)]);
  await proxy.upsert(tableOf([], [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')]), stop.signal);
  await clock.advance(20_000);
  stop.abort();
  await running;
  return [...new Set(resets)];
}

test('the connections of a node that is silent for too long are reset', async () => {
  expect(await resetsWhile(() => silent)).toEqual([reset]);
});

test('a node that answers again at that moment keeps its new connections', async () => {
  expect(await resetsWhile((asked) => (asked === 0 ? silent : up))).toEqual([]);
});
