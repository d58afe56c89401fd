import { expect, vi } from 'vitest';
import type { Listener } from '../../src/core/traffic/table.ts';
import { listener } from '../make/table.ts';
import { type Driver, echoPort, namePort, type Rig } from './haproxy-rig.ts';
import { patience } from './patience.ts';

/** The listeners that the tests of nodes use: one that answers with the node's name, and one that echoes. */
export const listeners: readonly Listener[] = [
  listener('10.50.0.1', 80, namePort),
  listener('10.50.0.1', 25, echoPort),
  listener('fd50::1', 80, namePort),
];

/** The states of the servers of IPv4, by node. */
export async function states({ proxy }: Driver, rig: Rig): Promise<string> {
  const { servers } = await proxy.observe(rig.signal);
  return servers
    .filter(({ family }) => family === 4)
    .map(({ node, state, health }) => `${node} ${state === 'drain' ? `drain (${health})` : state}`)
    .join(', ');
}

/** Connections of the client to row :25, one on each node, by the node's name. */
export async function connectionPerNode(rig: Rig): Promise<ReadonlyMap<string, number>> {
  const byNode = new Map<string, number>();
  while (byNode.size < rig.lab.nodes.length) {
    const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: '10.50.0.1', port: 25 });
    await vi.waitFor(async () => expect(await heard(rig, id)).toMatch(/^220 n\d\n/), patience);
    byNode.set((await heard(rig, id)).slice(4, 6), id);
  }
  return byNode;
}

async function heard(rig: Rig, id: number): Promise<string> {
  return (await rig.lab.client.ask({ do: 'heard', id })).text ?? '';
}

/** How a connection of the client has ended; `open`: not yet. */
export async function ending(rig: Rig, id: number | undefined): Promise<string | undefined> {
  return (await rig.lab.client.ask({ do: 'heard', id: id ?? 0 })).end;
}

/** Expects that a connection still carries data. */
export async function echoes(rig: Rig, id: number | undefined): Promise<void> {
  const word = `word ${performance.now()}`;
  await rig.lab.client.ask({ do: 'say', id: id ?? 0, text: word });
  await vi.waitFor(async () => expect(await heard(rig, id ?? 0)).toContain(word), patience);
}

/** The nodes that answer the next requests; each must be answered. */
export async function answering(rig: Rig): Promise<string> {
  const names = new Set<string>();
  for (let request = 0; request < 12; request++) {
    const { text, error } = await rig.fetch('10.50.0.1');
    expect(error).toBeUndefined();
    names.add(text ?? '');
  }
  return [...names].sort().join(' ');
}
