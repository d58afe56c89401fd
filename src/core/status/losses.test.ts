import { expect, test } from 'vitest';
import { makeService, tcp, udp } from '../../../test/make/service.ts';
import { statusOf } from '../../../test/make/status.ts';
import { nodeName } from '../../../test/make/table.ts';
import type { ServiceSpec } from '../model/service.ts';

test('NoNodes is said of ports that depend on the health of nodes, not of those whose servers have checks of their own', () => {
  const health = new Map([[nodeName('n1'), { 4: 'unhealthy' as const }]]);
  const own = [['furiwake.dev/health-check', 'tcp']] as const;
  const serving = (spec: Partial<ServiceSpec>, more: Parameters<typeof statusOf>[1]): string => {
    const status = statusOf([makeService('a', spec)], { health, ...more });
    const found = status?.conditions.find(({ type }) => type === 'furiwake.dev/Serving');
    return `${found?.status} ${found?.reason}: ${found?.message}`;
  };
  const both = { ports: [udp(53), tcp(443)], options: own };
  const failing: Parameters<typeof statusOf>[1] = {
    answer: (revision) => ({ revision, isForwarding: true, isFailing: true }),
  };
  expect(serving({ ports: [tcp(443)], options: own }, {})).toBe('True Serving: all ports are served');
  expect(serving({ ports: [tcp(443)], options: own }, failing)).toMatch(/^False NoServers: no server takes/);
  expect(serving({ ports: [tcp(443)], options: own }, { nodes: [] })).toMatch(/^False NoNodes: .*has no nodes$/);
  expect(serving(both, {})).toBe(
    'True PartlyServing: no node takes connections for port 53 of 192.0.2.8: every node is unhealthy: n1',
  );
  expect(serving(both, failing)).toBe(
    'False NoNodes: no node takes connections for port 53 of 192.0.2.8: every node is unhealthy: n1; no server takes connections for port 443 of 192.0.2.8: each one fails its own check, or its node is drained or silent',
  );
});

test('what is true of both addresses is said once, and each keeps what is true of it alone', () => {
  const spec = { ports: [tcp(80)], ipFamilies: [4, 6] } as const;
  const messageOf = (more: Parameters<typeof statusOf>[1]): string | undefined =>
    statusOf([makeService('a', spec)], more)?.conditions.at(-1)?.message;
  const answerWith = (causes: readonly string[]): Parameters<typeof statusOf>[1] => {
    const left = [...causes];
    return { answer: (revision) => ({ revision, isForwarding: true, proxyTrouble: left.shift() }) };
  };
  expect(messageOf(answerWith(['no memory', 'no memory']))).toBe(
    'no connections to 192.0.2.8 and 2001:db8::8, because HAProxy does not serve: no memory',
  );
  const apart = messageOf(answerWith(['no memory', 'no file']))?.split('; ') ?? [];
  expect(apart.map((each) => each.replace(/.*: /, '')).sort()).toEqual(['no file', 'no memory']);
});
