import { expect, test } from 'vitest';
import { type CheckScene, findIn, servedService } from '../../../test/make/check-scene.ts';

const gateway = '192.0.2.1 (default gateway of this host)';
const network = '192.0.2.0 (network address of a LAN of this host)';

const counting: ReadonlySet<string> = new Set(['addresses', 'excluded', 'outside the pool']);

test.each<[name: string, addresses: string, scene: CheckScene, findings: readonly object[]]>([
  [
    'that is free',
    '203.0.113.8-203.0.113.11',
    {},
    [{ mark: 'ok', what: 'addresses', found: '203.0.113.8-203.0.113.11; 4 addresses in all; 0 assigned; 4 left' }],
  ],
  [
    'with what the host, the API server and nodes need',
    '192.0.2.0/28',
    { objects: { services: [servedService('web', '192.0.2.3'), servedService('shares', '192.0.2.3')] } },
    [
      { mark: 'ok', found: '192.0.2.0-192.0.2.15; 16 addresses in all; 5 excluded; 1 assigned; 10 left' },
      {
        mark: 'ok',
        what: 'excluded',
        found: `${network}, ${gateway}, 192.0.2.2 (the API server), 192.0.2.11 (address of node n1), 192.0.2.12 (address of node n2)`,
      },
    ],
  ],
  [
    'of which nothing is left',
    '203.0.113.8',
    { objects: { services: [servedService('web', '203.0.113.8', 'metallb')] } },
    [{ mark: 'warning', found: '203.0.113.8; 1 address in all; 1 assigned; none left' }],
  ],
  [
    'of which nothing is left of one family',
    '203.0.113.8,2001:db8::8-2001:db8::a',
    { objects: { services: [servedService('web', '203.0.113.8'), servedService('six', '2001:db8::8')] } },
    [
      {
        mark: 'warning',
        found: '203.0.113.8, 2001:db8::8-2001:db8::a; 4 addresses in all; 2 assigned; none of IPv4 and 2 of IPv6 left',
        advice: expect.stringContaining('add IPv4 addresses to --addresses'),
      },
    ],
  ],
  [
    'that no Service can use',
    '192.0.2.1',
    {},
    [
      { mark: 'problem', found: '192.0.2.1; 1 address in all; 1 excluded; 0 assigned; none left' },
      { what: 'excluded', found: gateway },
    ],
  ],
  [
    'while the API server does not answer',
    '203.0.113.8/31',
    {
      answer: () => {
        throw new Error('no answer');
      },
    },
    [{ mark: 'ok', found: '203.0.113.8-203.0.113.9; 2 addresses in all; assigned: not known' }],
  ],
  [
    'other than the one that Services have addresses of',
    '203.0.113.8',
    { objects: { services: [servedService('old', '198.51.100.7'), servedService('not-ours', '198.51.100.8', 'x')] } },
    [
      { mark: 'ok', found: '203.0.113.8; 1 address in all; 0 assigned; 1 left' },
      { mark: 'warning', what: 'outside the pool', found: 'default/old (198.51.100.7)' },
    ],
  ],
])('a pool %s is counted', async (_, addresses, scene, expected) => {
  const findings = await findIn({ ...scene, flags: { addresses } });
  expect(findings.filter(({ what }) => counting.has(what))).toMatchObject(expected);
});

test("without --addresses the pool is the host's own address, and no other machine is asked for it", async () => {
  const findings = (await findIn({ flags: {} })).filter(({ group }) => group === 'Address pool');
  expect(findings).toMatchObject([
    { mark: 'ok', found: "192.0.2.51; 1 address in all; this host's own, which Services share by port" },
    { what: 'cluster CIDRs' },
  ]);
});

test('addresses that the cluster uses itself are a problem', async () => {
  expect(await findIn({ flags: { addresses: '10.96.0.0/28' } })).toContainEqual(
    expect.objectContaining({ mark: 'problem', what: 'cluster CIDRs', found: expect.stringMatching(/Service CIDR/) }),
  );
});

test('of a routed pool, the report says that a router must route it', async () => {
  expect(await findIn({})).toContainEqual(
    expect.objectContaining({
      mark: 'ok',
      what: 'other machines',
      found: expect.stringMatching(/a router must route it/),
    }),
  );
});
