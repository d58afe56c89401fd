import { expect, test } from 'vitest';
import { healthRoutes } from './health-routes.ts';

const { signal } = new AbortController();

test.each([
  ['no reason', [], 200, 'ok\n'],
  [
    'an API server that does not answer',
    ['the API server https://192.0.2.2:6443 does not answer: timeout', 'nothing is programmed yet'],
    503,
    'not ready: the API server https://192.0.2.2:6443 does not answer: timeout\nnot ready: nothing is programmed yet\n',
  ],
  [
    'drained nodes',
    ['no node takes connections: every node is drained: n1'],
    503,
    'not ready: no node takes connections: every node is drained: n1\n',
  ],
])('/readyz with %s', async (_, reasons, status, body) => {
  const routes = healthRoutes({ metrics: async () => '', metricsContentType: 'text/plain', notReady: () => reasons });
  expect(await routes['GET /readyz']?.('', signal, new URLSearchParams())).toMatchObject({ status, body });
});
