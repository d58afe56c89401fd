import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { pause } from './cluster.ts';
import { box, type Fault, type Host, never, quietly } from './fault.ts';
import { restart } from './furiwake-faults.ts';
import { bootIdFileOf } from './furiwake-process.ts';
import { kill, processesOf } from './host-faults.ts';
import { isOfPool } from './lab.ts';
import { links, resetRules } from './network-faults.ts';

/** Nothing is left of what programs have configured; the network configures the host again. */
async function boot(host: Host, downMs: number): Promise<void> {
  const { box: machine } = host;
  await links.down(host);
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
  await links.up(host);
}

export const reboots: Readonly<Record<string, Fault>> = {
  'host rebooted': box(2, async (host, random, world) => {
    const downMs = random.pick([0, 1_000, 5_000]);
    await restart(host, world, 'SIGKILL', () => boot(host, downMs));
    world.touch('all', 'host rebooted');
  }),
};
