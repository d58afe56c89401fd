import { writeFile } from 'node:fs/promises';
import { unixSockets } from '../../../src/dataplane/haproxy/runtime/client.ts';
import { systemClock } from '../../../src/main/node/clock.ts';
import type { Machine } from '../net-lab.ts';
import { box, packets, type Fault, never, quietly, type Random } from './fault.ts';
import type { Box } from './lab.ts';

/** Ports and addresses that no Service ever has. */
const foreign = { port: 7_777, ip4: '192.0.2.99', ip6: '2001:db8::99' };

type Element = unknown;
type Listed = {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly elem?: readonly Element[];
};

/** The sets and maps of furiwake's tables that have elements. */
async function filledSets(machine: Machine): Promise<readonly Listed[]> {
  const { nftables } = JSON.parse(await machine.exec('nft', '-j', 'list', 'ruleset')) as {
    nftables: readonly { readonly set?: Listed; readonly map?: Listed }[];
  };
  return nftables
    .flatMap(({ set, map }) => set ?? map ?? [])
    .filter(({ table, elem = [] }) => table.startsWith('furiwake') && elem.length > 0);
}

/** The same element with another key. */
function withForeignKey(element: Element): Element {
  if (Array.isArray(element)) return [withForeignKey(element[0]), ...element.slice(1)];
  if (typeof element === 'number') return foreign.port;
  if (typeof element === 'string') return element.includes(':') ? foreign.ip6 : foreign.ip4;
  const { concat, elem, ...others } = element as { concat?: readonly Element[]; elem?: { val: Element } };
  if (elem !== undefined) return { elem: { ...elem, val: withForeignKey(elem.val) } };
  if (concat === undefined) return others;
  const at = concat.findLastIndex((part) => typeof part === 'number');
  return { concat: concat.map((part, index) => (index === Math.max(at, 0) ? withForeignKey(part) : part)) };
}

async function changeElement(
  machine: Box,
  random: Random,
  verb: 'add' | 'delete',
  change: (element: Element) => Element,
): Promise<string> {
  const sets = await filledSets(machine);
  if (sets.length === 0) return 'there is none';
  const { family, table, name, elem = [] } = random.pick(sets);
  const element = { family, table, name, elem: [change(random.pick(elem))] };
  const json = JSON.stringify({ nftables: [{ [verb]: { element } }] });
  const file = `${machine.folder}/element.json`; // it does not read JSON from a pipe
  await writeFile(file, json);
  return `${json}${await machine.exec('nft', '-j', '-f', file).then(
    () => '',
    (error: unknown) => ` ${String(error)}`,
  )}`;
}

const sockets = unixSockets({ clock: systemClock });

/** One command, as `socat` sends it. */
const tellHaproxy = (machine: Box, command: string): Promise<string> =>
  sockets.request(`${machine.runFolder}/haproxy/worker.sock`, `${command}\n`, never).catch(String);

const serversOf = async (machine: Box): Promise<readonly string[]> => {
  const lines = (await tellHaproxy(machine, 'show servers state')).split('\n');
  return lines.flatMap((line) => {
    const [, backend, , server] = line.split(' ');
    return /^\d/.test(line) && backend !== undefined && server !== undefined ? [`${backend}/${server}`] : [];
  });
};

/** An operator who changes what furiwake has programmed. */
export const changesByHand: Readonly<Record<string, Fault>> = {
  'nft element added': packets(3, async ({ box: machine }, random, world) => {
    world.tell(`  ${await changeElement(machine, random, 'add', withForeignKey)}`);
  }),
  'nft element deleted': packets(3, async ({ box: machine }, random, world) => {
    world.tell(`  ${await changeElement(machine, random, 'delete', (element) => element)}`);
  }),
  'map of haproxy changed': packets(3, async ({ box: machine }, random, world) => {
    const map = `${machine.runFolder}/haproxy/services.map`;
    const lines = (await tellHaproxy(machine, `show map ${map}`)).split('\n').filter((line) => line.includes('|'));
    if (lines.length === 0) return;
    const [, key = '', row = ''] = random.pick(lines).split(' ');
    const command = random.pick([
      `clear map ${map}`,
      `del map ${map} ${key}`,
      `set map ${map} ${key} nowhere|1|1|x`,
      `add map ${map} ${foreign.ip4}|80 ${row}`,
    ]);
    world.allow(40_000);
    world.tell(`  ${command}: ${(await tellHaproxy(machine, command)).trim()}`);
  }),
  'servers of haproxy changed': packets(3, async ({ box: machine }, random, world) => {
    const servers = await serversOf(machine);
    if (servers.length === 0) return;
    const [server, action] = [
      random.pick(servers),
      random.pick(['state maint', 'state drain', 'weight 0', 'addr 192.0.2.99', 'health down', 'agent down']),
    ];
    const command = random.pick([
      `set server ${server} ${action}`,
      `set server ${server} ${action}`,
      `disable health ${server}`,
      `set server ${server} state maint; del server ${server}`,
      'disable frontend services',
      'set maxconn frontend services 1',
      'set maxconn global 1',
    ]);
    world.allow(40_000);
    world.tell(`  ${command}: ${(await tellHaproxy(machine, command)).trim()}`);
  }),
  'port of haproxy taken': box(1, async ({ box: machine }, _, world) => {
    world.tell(
      `  ${(await tellHaproxy(machine, 'show info')).split('\n').find((line) => line.startsWith('Pid')) ?? ''}`,
    );
    await quietly(machine.exec('sh', '-c', `kill -9 $(cat ${machine.runFolder}/haproxy/haproxy.pid)`));
    const call = { do: 'serveLines', port: 292, address: '127.0.0.1', greeting: 'intruder\n' } as const;
    for (let attempt = 0; attempt < 20; attempt++) {
      const { error } = await machine.ask(call);
      if (error === undefined) break;
    }
    return () => quietly(machine.ask({ do: 'unlisten', port: 292, address: '127.0.0.1' }));
  }),
};
