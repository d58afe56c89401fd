import { readdir, readFile } from 'node:fs/promises';
import { pause } from './cluster.ts';
import { never } from './fault.ts';
import { processesOf } from './host-faults.ts';
import type { World } from './world.ts';

const faulty = /\bundefined\b|\[object |\bNaN\b|TypeError|RangeError|ReferenceError|Cannot read prop|is not a function/;

/** A start refuses a state directory, a kubeconfig or a program that it cannot use. */
const expected = /--state-dir: |state directory|kubeconfig|is not usable/;

/** Logs, events and statuses of a program that has not met its own data, and where it ended by itself. */
export function wrongWords({ server, hosts }: World): readonly string[] {
  const texts = [
    ...hosts.flatMap(({ furiwake }) => furiwake.log.map(({ text }) => text)),
    ...server.list('Event').map((event) => JSON.stringify(event)),
    ...server.list('Service').map(({ status }) => JSON.stringify(status)),
  ];
  return [
    ...texts.filter((text) => faulty.test(text)).slice(0, 3),
    ...hosts.flatMap(({ furiwake }) => furiwake.ownEnds.filter((text) => !expected.test(text)).slice(0, 3)),
  ];
}

/** Programs of an earlier furiwake that still run. */
export async function processesLeft(world: World): Promise<readonly string[]> {
  const left: string[] = [];
  for (const { box, furiwake } of world.hosts) {
    for (const name of ['ip', 'nft', 'ss', 'conntrack', 'perl'])
      for (const pid of await processesOf(box, name)) {
        const parent = await parentOf(pid);
        if (parent !== undefined && parent !== furiwake.pid && parent !== process.pid)
          left.push(`${name} runs on ${box.name} without furiwake`);
      }
  }
  return left;
}

async function parentOf(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** What `cleanup` leaves on the hosts. */
export async function leftByCleanup(world: World): Promise<readonly string[]> {
  const left: string[] = [];
  for (const { box, furiwake } of world.hosts) {
    await furiwake.end('SIGTERM');
    const flags = ['--kubeconfig', furiwake.kubeconfig, '--state-dir', furiwake.stateDir];
    const { code, text } = await furiwake.command('cleanup', ...flags);
    if (code !== 0) left.push(`cleanup on ${box.name} ended with ${code}: ${text.trim()}`);
    world.tell(`cleanup: ${text.trim()}`);
    await pause(200, never);
    const shown = {
      rules: await box.exec('ip', 'rule'),
      addresses: await box.exec('ip', '-oneline', 'address'),
      ruleset: await box.exec('nft', 'list', 'ruleset'),
      routes: await box.exec('ip', 'route', 'show', 'table', 'all'),
    };
    for (const [what, lines] of Object.entries(shown)) {
      const line = lines.split('\n').find((each) => /furiwake|8192|0x2000/.test(each));
      if (line !== undefined) left.push(`cleanup on ${box.name} leaves ${what}: ${line.trim()}`);
    }
    for (const name of ['haproxy', 'ip', 'nft', 'perl']) {
      const found = await processesOf(box, name);
      if (found.length > 0) left.push(`cleanup on ${box.name} leaves processes ${name}: ${found.join()}`);
    }
    const files = await readdir(box.runFolder).catch(() => []);
    if (files.length > 0) left.push(`cleanup on ${box.name} leaves ${files.join()} in ${box.runFolder}`);
  }
  return left;
}
