import { describe, expect, test } from 'vitest';
import { tcp, udp } from '../../../test/make/service.ts';
import { chooseDataplane, decideDataplane, requestedDataplane } from './dataplane.ts';

const sctp = (port: number, nodePort?: number): ReturnType<typeof tcp> => ({
  ...tcp(port, nodePort),
  protocol: 'SCTP',
});
const ports = [tcp(80), udp(80), sctp(80), tcp(80, 0), udp(80, 0), sctp(80, 0)];

const none = 'NodePortMissing';
const asking = { dataplane: undefined, backends: undefined, options: [], ports };

/** The choice for each of `ports`. */
const withHaproxy = ['haproxy', 'nat', 'nat', none, none, none];
const withDirect = ['direct', 'direct', 'direct', 'direct', 'direct', 'direct'];
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
    const choices = ports.map((port) => chooseDataplane({ ...asking, dataplane }, port));
    expect(choices.map((choice) => (typeof choice === 'string' ? choice : choice.reason))).toEqual(expected);
  });
});

const required = 'HaproxyRequired';

describe.each([
  ['proxy-protocol', 'v2'],
  ['http-mode', 'all'],
])('the dataplane of the same ports with %s', (name, text) => {
  test.each([
    [undefined, ['haproxy', 'nat', 'nat', none, none, none]],
    ['haproxy', ['haproxy', 'nat', 'nat', none, none, none]],
    ['Direct', ['haproxy', 'nat', 'nat', none, none, none]],
    ['direct', [required, 'direct', 'direct', required, 'direct', 'direct']],
    ['nat', [required, 'nat', 'nat', required, none, none]],
  ])('if %j is requested', (dataplane, expected) => {
    const request = { ...asking, dataplane, options: [[`furiwake.dev/${name}`, text]] as const };
    const choices = ports.map((port) => chooseDataplane(request, port));
    expect(choices.map((choice) => (typeof choice === 'string' ? choice : choice.reason))).toEqual(expected);
  });
});

test('a refusal names what the dataplane lacks', () => {
  const request = {
    backends: undefined,
    dataplane: 'direct',
    options: [['furiwake.dev/proxy-protocol', 'v2']] as const,
    ports,
  };
  expect(chooseDataplane(request, tcp(80))).toEqual({
    reason: 'HaproxyRequired',
    message:
      'TCP port 80 asks for the PROXY protocol, which direct does not have: remove that annotation or furiwake.dev/dataplane',
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
  [tcp(80, 0), 'furiwake.dev/dataplane: direct or furiwake.dev/backends: pods'],
  [udp(53, 0), 'furiwake.dev/dataplane: direct'],
  [sctp(132, 0), 'furiwake.dev/dataplane: direct'],
])('a refusal says what would serve the port', (port, remedy) => {
  const message = `${port.protocol} port ${port.port} has no nodePort (spec.allocateLoadBalancerNodePorts is false): without one it is served only with the annotation ${remedy}`;
  expect(chooseDataplane(asking, port)).toMatchObject({ message });
});

describe('what is decided, by request, needs and place', () => {
  const place = { isDrained: false, isHostAddress: false, hasNextHop: true, isPublished: false } as const;
  const spec = (
    dataplane: string | undefined,
    needs: 'nothing' | 'Local' | 'ClientIP' = 'nothing',
    backends?: string,
  ) => ({
    ...asking,
    ports: ports.filter(({ nodePort }) => nodePort !== 0),
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
    [undefined, 'nothing', { isPublished: true, isDrained: true }, haproxy],
    ...(['Local', 'ClientIP'] as const).flatMap((needs) => [
      [undefined, needs, {}, automatic] as const,
      ['nonsense', needs, {}, automatic] as const,
      ['haproxy', needs, {}, haproxy] as const,
      ['haproxy', needs, { isPublished: true }, haproxy] as const,
      [undefined, needs, { hasNextHop: false }, haproxy] as const,
      [undefined, needs, { isHostAddress: true }, haproxy] as const,
      [undefined, needs, { isDrained: true }, haproxy] as const,
    ]),
    ['direct', 'nothing', {}, requested],
    ['direct', 'Local', { isDrained: true, isHostAddress: true, hasNextHop: false }, requested],
  ] as const)('%s, %s, %j', (dataplane, needs, differs, expected) => {
    expect(decideDataplane(spec(dataplane, needs), tcp(80), { ...place, ...differs })).toEqual(expected);
  });

  test.each([
    [tcp(80), haproxy],
    [udp(53), { ...haproxy, dataplane: 'nat' }],
  ])('a port without a nodePort leaves the others of its Service where they are: $0.protocol', (port, stack) => {
    const mixed = { ...spec(undefined), ports: [port, tcp(81, 0)] };
    // `direct` serves port 81, and so the address is published for it.
    for (const isPublished of [false, true])
      expect(decideDataplane(mixed, port, { ...place, isPublished })).toEqual(stack);
    for (const differs of [{}, { isPublished: true, hasNextHop: false }])
      expect(
        decideDataplane({ ...mixed, externalTrafficPolicy: 'Local' }, port, { ...place, ...differs }),
      ).toMatchObject({ dataplane: 'direct', needsProof: true });
  });

  test('a Service with options for HAProxy is served by it, on all its TCP ports, unless it requests another dataplane', () => {
    for (const text of ['80=v1', 'v2'])
      for (const port of [tcp(80), tcp(81)])
        for (const needs of ['Local', 'ClientIP', 'nothing'] as const) {
          const options = [['furiwake.dev/proxy-protocol', text]] as const;
          const request = { ...spec(undefined, needs), options, ports: [tcp(80), tcp(81)] };
          expect(decideDataplane(request, port, { ...place, isPublished: true })).toEqual(haproxy);
        }
    const limited = { ...spec('direct', 'Local'), options: [['furiwake.dev/connection-rate', '5']] as const };
    expect(decideDataplane(limited, tcp(80), place)).toEqual(requested);
  });

  test('without a nodePort nothing stands in', () => {
    for (const port of [tcp(80, 0), udp(53, 0), sctp(132, 0)])
      expect(decideDataplane(spec('direct'), port, place)).toEqual({ ...requested, standIn: undefined });
  });

  test.each([udp(53), sctp(132)])('nat is for $protocol what HAProxy is for TCP', (port) => {
    const nat = { ...haproxy, dataplane: 'nat' };
    const decided = (...[dataplane, needs, differs]: [string | undefined, 'Local' | 'ClientIP' | 'nothing', object?]) =>
      decideDataplane(spec(dataplane, needs), port, { ...place, ...differs });
    for (const needs of ['Local', 'ClientIP'] as const) {
      expect(decided(undefined, needs)).toEqual({ ...automatic, standIn: 'nat' });
      for (const differs of [{ hasNextHop: false }, { isHostAddress: true }, { isDrained: true }])
        expect(decided(undefined, needs, differs)).toEqual(nat);
      for (const requests of ['haproxy', 'nat']) expect(decided(requests, needs, { isPublished: true })).toEqual(nat);
    }
    expect(decided(undefined, 'nothing')).toEqual(nat);
    expect(decided(undefined, 'nothing', { isPublished: true })).toEqual({ ...automatic, standIn: 'nat' });
    expect(decided('direct', 'nothing')).toEqual({ ...requested, standIn: 'nat' });
  });

  test('the UDP port of a Service whose TCP port must not leave HAProxy stays with nat: the address has one ipMode', () => {
    const proxied = { ...spec(undefined, 'Local'), options: [['furiwake.dev/proxy-protocol', 'v2']] as const };
    const onPods = spec(undefined, 'Local', 'pods');
    for (const each of [proxied, onPods])
      expect(decideDataplane(each, udp(53), { ...place, isPublished: true })).toMatchObject({ dataplane: 'nat' });
  });

  test('Pods as servers need HAProxy, which then serves ports without a nodePort, and never direct by itself', () => {
    for (const port of [tcp(80), tcp(80, 0)])
      for (const differs of [{}, { isPublished: true }])
        for (const requests of [undefined, 'haproxy'])
          expect(decideDataplane(spec(requests, 'Local', 'pods'), port, { ...place, ...differs })).toEqual(haproxy);
    expect(decideDataplane(spec(undefined, 'nothing', 'pods'), udp(53), place)).toMatchObject({ dataplane: 'nat' });
    expect(decideDataplane(spec('direct', 'nothing', 'pods'), tcp(80), place)).toEqual(requested);
    expect(decideDataplane(spec('nat', 'nothing', 'pods'), tcp(80, 0), place)).toMatchObject({ reason: none });
    for (const backends of ['Pods', 'nodes'])
      expect(decideDataplane(spec(undefined, 'nothing', backends), tcp(80, 0), place)).toMatchObject({
        needsProof: true,
      });
  });

  test('without a nodePort direct serves a port by itself, and nothing stands in', () => {
    for (const port of [tcp(80, 0), udp(53, 0), sctp(132, 0)]) {
      for (const needs of ['nothing', 'Local'] as const)
        for (const differs of [{}, { hasNextHop: false }, { isPublished: true }, { isDrained: true }])
          expect(decideDataplane(spec(undefined, needs), port, { ...place, ...differs })).toEqual({
            ...automatic,
            standIn: undefined,
          });
      for (const [requests, differs] of [
        ['haproxy', {}],
        ['nat', {}],
        [undefined, { isHostAddress: true }],
      ] as const)
        expect(decideDataplane(spec(requests, 'Local'), port, { ...place, ...differs })).toMatchObject({
          reason: none,
        });
    }
  });
});
