import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { setUp } from '../net-lab.ts';
import { pause } from './cluster.ts';
import { box, type Fault, never, quietly } from './fault.ts';
import { restart } from './furiwake-faults.ts';
import { bootIdFileOf } from './furiwake-process.ts';
import { kill, processesOf } from './host-faults.ts';
import { type Box, isOfPool, routesOf } from './lab.ts';
import { resetRules } from './network-faults.ts';

/** Nothing is left of what programs have configured; the network configures the host again. */
async function boot(machine: Box, downMs: number): Promise<void> {
  await quietly(machine.exec('ip', 'link', 'set', machine.link, 'down'));
  for (const pid of await processesOf(machine, 'haproxy')) kill(pid, 'SIGKILL');
  await machine.nft('flush ruleset');
  await resetRules(machine);
  for (const family of ['-4', '-6']) await quietly(machine.exec('ip', family, 'route', 'flush', 'table', '8192'));
  const text = await machine.exec('ip', '-oneline', 'address');
  for (const [, link = '', address = '', length = ''] of text.matchAll(/^\d+: (\S+) +inet6? ([^/ ]+)\/(\d+)/gm)) {
    if (link.startsWith('furiwake')) await quietly(machine.exec('ip', 'link', 'del', link));
    else if (isOfPool(address))
      await quietly(machine.exec('ip', 'address', 'del', `${address}/${length}`, 'dev', link));
  }
  await quietly(machine.exec('conntrack', '-F'));
  await quietly(machine.exec('sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0'));
  await rm(machine.runFolder, { recursive: true, force: true });
  await writeFile(bootIdFileOf(machine), `${randomUUID()}\n`);
  await pause(downMs, never);
  await quietly(machine.ip(...setUp(machine.link, `${machine.ip4}/24`, `${machine.ip6}/64`)));
  await quietly(machine.exec('ip', 'address', 'add', `${machine.ip6}/64`, 'dev', machine.link, 'nodad'));
  for (const line of routesOf(machine)) await quietly(machine.ip(line));
}

export const reboots: Readonly<Record<string, Fault>> = {
  'host rebooted': box(2, async (host, random, world) => {
    const downMs = random.pick([0, 1_000, 5_000]);
    await restart(host, world, 'SIGKILL', () => boot(host.box, downMs));
    world.touch('all', 'host rebooted');
  }),
};
