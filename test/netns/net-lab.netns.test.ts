import { expect, test } from 'vitest';
import { startNetLab } from './net-lab.ts';
import { patience } from './patience.ts';

test('the client reaches the load balancer, the load balancer the nodes, in both families, and a silent node does not answer', async () => {
  await using lab = await startNetLab({ nodes: 2 });
  const [first, second] = lab.nodes;
  await first?.ask({ do: 'serveHttp', port: 8080, body: 'n1' });
  expect(await lab.balancer.ask({ do: 'fetch', address: '10.20.0.11', port: 8080 })).toEqual({
    status: 200,
    text: 'n1',
  });
  expect(await lab.balancer.ask({ do: 'fetch', address: 'fd20::11', port: 8080 })).toEqual({ status: 200, text: 'n1' });
  expect(await lab.balancer.ask({ do: 'fetch', address: '10.20.0.12', port: 8080 })).toEqual({ error: 'ECONNREFUSED' });
  await second?.setSilent(true);
  const unanswered = { do: 'fetch', address: '10.20.0.12', port: 8080, timeoutMs: 4_000 } as const;
  expect(await lab.balancer.ask(unanswered)).toEqual({ error: 'timeout' });
  await second?.setSilent(false);
  await lab.balancer.ask({ do: 'serveLines', port: 25, greeting: '220 hello\n' });
  const { id } = await lab.client.ask({ do: 'dial', address: 'fd10::1', port: 25 });
  await expect
    .poll(() => lab.client.ask({ do: 'heard', id: id ?? 0 }), patience)
    .toEqual({ text: '220 hello\n', end: 'open' });
});
