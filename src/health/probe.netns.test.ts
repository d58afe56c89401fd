import { afterAll, beforeAll, expect, test } from 'vitest';
import { probeFrom } from '../../test/netns/lab-probe.ts';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { addressOf } from '../../test/make/table.ts';
import type { Ip } from '../core/ip/ip.ts';

const { signal } = new AbortController();
let lab: NetLab;

beforeAll(async () => {
  lab = await startNetLab({ nodes: 2 });
  for (const node of lab.nodes) await node.ask({ do: 'serveHttp', port: 10_256, body: '{}' });
  await lab.balancer.exec('ip', 'route', 'add', '10.99.0.0/16', 'via', '10.10.0.2');
  await lab.client.setSilent(true);
});
afterAll(() => lab[Symbol.asyncDispose]());

test('2,000 silent nodes delay no round, and hide no node that answers', async () => {
  const silent = Array.from({ length: 2_000 }, (_, index) => `10.99.${Math.floor(index / 250)}.${1 + (index % 250)}`);
  const [n1 = '', n2 = ''] = lab.nodes.map(({ ip4 }) => ip4);
  const targets = new Map<string, Ip>([n1, ...silent, n2].map((text) => [text, addressOf(text)]));
  const startedAt = performance.now();
  const answers = await probeFrom(lab.balancer, 10)(targets, signal); // a busy machine needs longer than half a second
  expect(performance.now() - startedAt).toBeLessThan(80_000); // 6 s on a quiet machine; 64 at once: 160 s
  expect(answers).toEqual(
    new Map([...targets.keys()].map((text) => [text, text === n1 || text === n2 ? 'ok' : 'silent'])),
  );
});
