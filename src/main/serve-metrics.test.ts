import { expect, test } from 'vitest';
import { execOf } from '../../test/make/exec.ts';
import { serveHttp } from '../http/server.ts';
import { makeMetrics } from './node/metrics.ts';
import { serveMetrics } from './serve-metrics.ts';

const { signal } = new AbortController();
const deps = { metrics: makeMetrics(), notReady: () => [], refresh: async () => undefined };

test('metrics are refreshed before each scrape', async () => {
  const metrics = makeMetrics();
  const scrapes = metrics.gauge('scrapes', 'for this test');
  let count = 0;
  const refresh = async (): Promise<void> => scrapes.set((count += 1));
  await using server = await serveMetrics(
    { host: '127.0.0.1', port: 0 },
    { ...deps, metrics, refresh, exec: execOf(() => '') },
    signal,
  );
  for (const scrape of [1, 2]) {
    const answer = await fetch(`http://127.0.0.1:${server.port}/metrics`);
    expect(await answer.text()).toContain(`\nscrapes ${scrape}\n`);
  }
});

test('an address that the host does not have is named', async () => {
  const exec = execOf(() => '');
  await expect(serveMetrics({ host: '192.0.2.99', port: 9470 }, { ...deps, exec }, signal)).rejects.toMatchObject({
    code: 'START',
    message: '--metrics-address: this host has no address 192.0.2.99; choose another, or none',
  });
});

test.each([
  [
    'its holder',
    (port: number) => `LISTEN 0 128 127.0.0.1:${port} 0.0.0.0:* users:(("nc",pid=9,fd=5))\n`,
    'nc (PID 9)',
  ],
  ['an unknown holder', (port: number) => `LISTEN 0 128 127.0.0.1:${port} 0.0.0.0:*\n`, 'an unknown process'],
  ['no holder any more', () => '\n', 'another process'],
])('a port that is in use is named with %s', async (_, line, holder) => {
  await using other = await serveHttp({ host: '127.0.0.1', port: 0 }, {}, signal);
  const { port } = other;
  const exec = execOf(() => line(port));
  await expect(serveMetrics({ host: '127.0.0.1', port }, { ...deps, exec }, signal)).rejects.toMatchObject({
    code: 'START',
    message: `--metrics-address: port ${port} is held by ${holder}; choose another, or none`,
  });
});
