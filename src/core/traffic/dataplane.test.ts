import { describe, expect, test } from 'vitest';
import { tcp, udp } from '../../../test/make/service.ts';
import { chooseDataplane, requestedDataplane } from './dataplane.ts';

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
    const choices = ports.map((port) => chooseDataplane({ dataplane }, port));
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
  [tcp(80, 0), 'only with the annotation furiwake.dev/dataplane: direct'],
  [udp(53, 0), 'only with the annotation furiwake.dev/dataplane: direct'],
  [sctp(132, 0), 'by no dataplane'],
])('a refusal says what would serve the port, if anything', (port, remedy) => {
  const message = `${port.protocol} port ${port.port} has no nodePort (spec.allocateLoadBalancerNodePorts is false): without one it is served ${remedy}`;
  expect(chooseDataplane({ dataplane: undefined }, port)).toMatchObject({ message });
});
