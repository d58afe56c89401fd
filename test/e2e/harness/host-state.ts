import { expect } from 'vitest';
import type { Host } from '../../../lab/network/host.ts';
import { eventually } from './eventually.ts';

/** Possible traces of furiwake on a host, as text: addresses, routing rules and routes, nft tables, processes. */
export type HostState = Readonly<Record<'addresses' | 'rules' | 'routes' | 'tables' | 'processes', string>>;

export async function readHostState(host: Host): Promise<HostState> {
  const say = async (...argv: readonly string[]): Promise<string> => (await host.exec(argv)).stdout;
  const [routes4, routes6] = [await say(...allRoutes('-4')), await say(...allRoutes('-6'))];
  const names = (await say('ps', '-e', '--no-headers', '-o', 'comm=')).split('\n');
  return {
    addresses: settled(await say('ip', '-oneline', 'address')),
    rules: (await say('ip', 'rule')) + (await say('ip', '-6', 'rule')),
    routes: settled(routes4 + routes6),
    tables: await say('nft', 'list', 'ruleset'),
    processes: names.filter((name) => ['haproxy', 'nft', 'ip', 'node'].includes(name)).join(' '),
  };
}

/** Waits until the host is in this state: children of a program may outlive it by a moment. */
export async function untilHostState(host: Host, state: HostState): Promise<void> {
  await eventually(async () => expect(await readHostState(host)).toEqual(state), 15_000);
}

function allRoutes(family: '-4' | '-6'): readonly string[] {
  return ['ip', family, 'route', 'show', 'table', 'all'];
}

/** Without link-local addresses, because the kernel adds them with a delay. */
function settled(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.includes('fe80:'))
    .join('\n');
}
