import { expect, test } from 'vitest';
import { execOf } from '../../test/make/exec.ts';
import type { HostMetrics } from '../daemon/host-metrics.ts';
import { serveHttp } from '../http/server.ts';
import { makeMetrics } from './node/metrics.ts';
import { serveMetrics } from './serve-metrics.ts';

const { signal } = new AbortController();
const deps = { metrics: makeMetrics(), notReady: () => [], refresh: async () => undefined, families: () => [] };

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

test('a scrape of some metrics gets those that exist, and only what they need is refreshed', async () => {
  const metrics = makeMetrics();
  metrics.gauge('one', 'for this test').set(1);
  metrics.counter('two', 'for this test').add(2);
  let asked: readonly string[] = [];
  const refresh = async (names: readonly string[]): Promise<void> => {
    asked = names;
  };
  await using server = await serveMetrics(
    { host: '127.0.0.1', port: 0 },
    { ...deps, metrics, refresh, exec: execOf(() => '') },
    signal,
  );
  const answer = await fetch(`http://127.0.0.1:${server.port}/metrics?name[]=two&name[]=none`);
  expect(await answer.text()).toBe('# HELP two for this test\n# TYPE two counter\ntwo 2\n');
  expect(asked).toEqual(['two', 'none']);
});

test('metrics in portions follow the others; a scrape of some has only theirs', async () => {
  const metrics = makeMetrics();
  metrics.gauge('one', 'for this test').set(1);
  const families = (): ReturnType<HostMetrics['families']> => [
    { name: 'many', portions: ['many 1\n', 'many 2\n'] },
    { name: 'others', portions: ['others 3\n'] },
  ];
  await using server = await serveMetrics(
    { host: '127.0.0.1', port: 0 },
    { ...deps, metrics, families, exec: execOf(() => '') },
    signal,
  );
  const read = async (query: string): Promise<string> =>
    await (await fetch(`http://127.0.0.1:${server.port}/metrics${query}`)).text();
  expect(await read('')).toMatch(/\none 1\n[^]*many 1\nmany 2\nothers 3\n$/);
  expect(await read('?name[]=others')).toBe('others 3\n');
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
