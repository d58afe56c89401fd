import { expect } from 'vitest';
import type { TrafficNode, TrafficTable } from '../../src/core/traffic/table.ts';
import { node as tableNode } from '../make/table.ts';
import type { Driver, Rig } from './haproxy-rig.ts';
import { allPrepared } from '../make/unprepared.ts';

/** The nodes of the lab, as a table has them. */
export function labNodes({ lab }: Rig, draining = ''): readonly TrafficNode[] {
  return lab.nodes.map(({ name, ip4, ip6 }) => ({
    ...tableNode(name, ip4, ip6),
    state: name === draining ? 'drain' : 'active',
  }));
}

/** Makes HAProxy serve exactly the table, with no listener refused. */
export async function applyTable(
  { proxy }: Driver,
  table: TrafficTable,
  { signal }: Pick<Rig, 'signal'>,
): Promise<void> {
  expect(await proxy.upsert(table, signal)).toEqual(allPrepared);
  await proxy.prune(table, signal);
}

/** How many of so many requests each server answers, by its body. */
export async function shares(rig: Rig, vip: string, requests: number, port = 80): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let request = 0; request < requests; request++) {
    const { text = 'nothing' } = await rig.fetch(vip, port);
    counts[text] = (counts[text] ?? 0) + 1;
  }
  return counts;
}
