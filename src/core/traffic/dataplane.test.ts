import { describe, expect, test } from 'vitest';
import { tcp, udp } from '../../../test/make/service.ts';
import { chooseDataplane, decideDataplane, requestedDataplane } from './dataplane.ts';

const sctp = (port: number, nodePort?: number): ReturnType<typeof tcp> => ({
  ...tcp(port, nodePort),
  protocol: 'SCTP',
});
const ports = [tcp(80), udp(80), sctp(80), tcp(80, 0), udp(80, 0), sctp(80, 0)];

const none = 'NodePortMissing';
/** The choice for each of `ports`. */
const withHaproxy = ['haproxy', 'nat', 'nat', none, none, none];
const withDirect = ['direct', 'direct', 'nat', 'direct', 'direct', none];
const withNat = ['nat', 'nat', 'nat', none, none, none];

describe('the dataplane of TCP, UDP and SCTP ports, with a nodePort and without', () => {
  test.each([
    [undefined, withHaproxy],
    ['haproxy', withHaproxy],
    ['direct', withDirect],
    ['nat', withNat],
    // Not valid: as without the annotation.
    ['Direct', withHaproxy],
    ['NAT', withHaproxy],
    ['none', withHaproxy],
    ['toString', withHaproxy],
  ])('if %j is requested', (dataplane, expected) => {
    const choices = ports.map((port) => chooseDataplane({ dataplane, backends: undefined }, port));
    expect(choices.map((choice) => (typeof choice === 'string' ? choice : choice.reason))).toEqual(expected);
  });
});

test.each([
  [undefined, undefined],
  ['haproxy', 'haproxy'],
  ['direct', 'direct'],
  ['nat', 'nat'],
  ['Direct', undefined],
  ['none', undefined],
])('the annotation %j requests %s', (dataplane, requested) => {
  expect(requestedDataplane({ dataplane })).toBe(requested);
});

test.each([
  [tcp(80, 0), 'only with the annotation furiwake.dev/dataplane: direct or furiwake.dev/backends: pods'],
  [udp(53, 0), 'only with the annotation furiwake.dev/dataplane: direct'],
  [sctp(132, 0), 'by no dataplane'],
])('a refusal says what would serve the port, if anything', (port, remedy) => {
  const message = `${port.protocol} port ${port.port} has no nodePort (spec.allocateLoadBalancerNodePorts is false): without one it is served ${remedy}`;
  expect(chooseDataplane({ dataplane: undefined, backends: undefined }, port)).toMatchObject({ message });
});

describe('what is decided, by request, needs and place', () => {
  const place = { choice: 'auto', isHostAddress: false, hasNextHop: true, isPublished: false } as const;
  const spec = (
    dataplane: string | undefined,
    needs: 'nothing' | 'Local' | 'ClientIP' = 'nothing',
    backends?: string,
  ) => ({
    dataplane,
    backends,
    externalTrafficPolicy: needs === 'Local' ? needs : 'Cluster',
    sessionAffinity: needs === 'ClientIP' ? needs : 'None',
  });
  const haproxy = { dataplane: 'haproxy', standIn: undefined, needsProof: false };
  const requested = { dataplane: 'direct', standIn: 'haproxy', needsProof: false };
  const automatic = { dataplane: 'direct', standIn: 'haproxy', needsProof: true };

  test.each([
    [undefined, 'nothing', {}, haproxy],
    [undefined, 'nothing', { isPublished: true }, automatic],
    [undefined, 'nothing', { isPublished: true, hasNextHop: false }, automatic],
    [undefined, 'nothing', { isPublished: true, isHostAddress: true }, haproxy],
    [undefined, 'nothing', { isPublished: true, choice: 'haproxy' }, haproxy],
    ...(['Local', 'ClientIP'] as const).flatMap((needs) => [
      [undefined, needs, {}, automatic] as const,
      ['nonsense', needs, {}, automatic] as const,
      ['haproxy', needs, {}, haproxy] as const,
      ['haproxy', needs, { isPublished: true }, haproxy] as const,
      [undefined, needs, { hasNextHop: false }, haproxy] as const,
      [undefined, needs, { isHostAddress: true }, haproxy] as const,
      [undefined, needs, { choice: 'haproxy' }, haproxy] as const,
    ]),
    ['direct', 'nothing', {}, requested],
    ['direct', 'Local', { choice: 'haproxy', isHostAddress: true, hasNextHop: false }, requested],
  ] as const)('%s, %s, %j', (dataplane, needs, differs, expected) => {
    expect(decideDataplane(spec(dataplane, needs), tcp(80), { ...place, ...differs })).toEqual(expected);
  });

  test('without a nodePort, and for UDP, nothing stands in', () => {
    for (const port of [tcp(80, 0), udp(53)])
      expect(decideDataplane(spec('direct'), port, place)).toEqual({ ...requested, standIn: undefined });
  });

  test('Pods as servers need HAProxy, which then serves ports without a nodePort, and never direct by itself', () => {
    for (const port of [tcp(80), tcp(80, 0)])
      for (const differs of [{}, { isPublished: true }])
        for (const requests of [undefined, 'haproxy'])
          expect(decideDataplane(spec(requests, 'Local', 'pods'), port, { ...place, ...differs })).toEqual(haproxy);
    expect(decideDataplane(spec(undefined, 'nothing', 'pods'), udp(53), place)).toMatchObject({ dataplane: 'nat' });
    expect(decideDataplane(spec('direct', 'nothing', 'pods'), tcp(80), place)).toEqual(requested);
    for (const [requests, backends] of [
      [undefined, 'Pods'],
      [undefined, 'nodes'],
      ['nat', 'pods'],
    ] as const)
      expect(decideDataplane(spec(requests, 'nothing', backends), tcp(80, 0), place)).toMatchObject({ reason: none });
  });

  test('a port that no dataplane can serve stays refused', () => {
    expect(decideDataplane(spec(undefined, 'Local'), tcp(80, 0), place)).toMatchObject({ reason: 'NodePortMissing' });
  });
});
