import { expect, test } from 'vitest';
import { makeService, tcp, udp } from '../../../test/make/service.ts';
import type { ServiceSpec } from '../model/service.ts';
import { chooseDataplane, decideDataplane } from './dataplane.ts';
import { decodeProxyOptions } from './decode-options.ts';
import { defaultTroubles, withDefaults } from './defaults.ts';
import { optionsOfPort } from './port-options.ts';

/** A Service in a site with these defaults, without the prefix. */
function specOf(defaults: Readonly<Record<string, string>>, spec: Partial<ServiceSpec> = {}): ServiceSpec {
  const named = Object.entries(defaults).map(([name, text]) => [`furiwake.dev/${name}`, text] as const);
  return withDefaults(makeService('a', spec).spec, named);
}

test('a default has the effect of the annotation', () => {
  expect(specOf({ dataplane: 'nat', backends: 'pods' })).toMatchObject({ dataplane: 'nat', backends: undefined });
  expect(specOf({ dataplane: 'haproxy', backends: 'pods' })).toMatchObject({ dataplane: 'haproxy', backends: 'pods' });
  const spec = specOf({ 'connection-rate': '5', balance: 'leastconn' });
  expect(optionsOfPort(spec, tcp(80), false)).toMatchObject({ limits: { rate: 5 }, profile: { balance: 'leastconn' } });
});

test('annotations of the Service for HAProxy have precedence over the default of another dataplane', () => {
  for (const dataplane of ['nat', 'direct']) {
    const own = [['furiwake.dev/balance', 'source']] as const;
    expect(specOf({ dataplane }, { options: own }).dataplane).toBeUndefined();
    expect(specOf({ dataplane }, { backends: 'pods' }).dataplane).toBeUndefined();
    expect(specOf({ dataplane }, { dataplane: 'haproxy' }).dataplane).toBe('haproxy');
  }
});

test('a default for HAProxy does not concern Services that it does not serve', () => {
  const defaults = { 'proxy-protocol': 'v2', backends: 'pods', 'max-connections': '9' };
  for (const spec of [{ dataplane: 'nat' }, { dataplane: 'direct' }, { ports: [udp(53)] }])
    expect(specOf(defaults, spec)).toMatchObject({ options: [], backends: undefined });
  expect(specOf(defaults, { ports: [udp(53), tcp(53)] })).toMatchObject({ backends: undefined });
  expect(specOf(defaults, { ports: [udp(53), tcp(53)] }).options).toHaveLength(2);
});

const place = { isDrained: false, isHostAddress: false, hasNextHop: true, isPublished: false };

test.each([{ externalTrafficPolicy: 'Local' }, { sessionAffinity: 'ClientIP' }])(
  'a Service with %j moves to direct in spite of defaults, unless its servers rely on HAProxy',
  (fields) => {
    const dataplaneOf = (defaults: Readonly<Record<string, string>>): unknown =>
      decideDataplane(specOf(defaults, fields), tcp(80), place);
    expect(dataplaneOf({ backends: 'pods', 'connection-rate': '5' })).toMatchObject({ dataplane: 'direct' });
    for (const name of ['proxy-protocol', 'http-mode'])
      expect(dataplaneOf({ [name]: name === 'http-mode' ? '80' : 'v1' })).toMatchObject({ dataplane: 'haproxy' });
    expect(dataplaneOf({ dataplane: 'haproxy', backends: 'pods' })).toMatchObject({ dataplane: 'haproxy' });
    expect(specOf({ dataplane: 'haproxy', backends: 'pods' }, fields).backends).toBe('pods');
  },
);

test('a default that finds no port, or nothing that it completes, does not trouble the Service', () => {
  const spec = specOf({
    'http-mode': '8080,web,p80',
    'proxy-protocol': '25=v1,443=v2',
    'health-check-interval': '5s',
    'server-timeout': '5s',
  });
  const { problems, used, http, proxyProtocol, server } = decodeProxyOptions({ ...spec, ports: [tcp(443), tcp(80)] });
  expect({ problems, used, http, proxyProtocol, check: server.check }).toEqual({
    problems: [],
    used: [],
    http: new Set([80]),
    proxyProtocol: new Map([[443, 2]]),
    check: undefined,
  });
  const checked = specOf({ 'health-check-interval': '5s' }, { options: [['furiwake.dev/health-check', 'tcp']] });
  expect(decodeProxyOptions(checked)).toMatchObject({
    problems: [],
    server: { check: { intervalMs: 5000 } },
    used: ['furiwake.dev/health-check'],
  });
});

test('the PROXY protocol by default refuses no port of a Service that requests another dataplane', () => {
  const spec = specOf({ 'proxy-protocol': 'v2' }, { dataplane: 'nat' });
  expect(chooseDataplane(spec, tcp(80))).toBe('nat');
});

test.each([
  ['dataplane', 'Direct', 'annotation furiwake.dev/dataplane="Direct" (valid: haproxy, direct, nat)'],
  ['backends', 'nodes', 'annotation furiwake.dev/backends="nodes" (valid: pods)'],
  ['balance', 'first', 'annotation furiwake.dev/balance="first" (valid: roundrobin, leastconn, source)'],
  [
    'health-check-interval',
    '1d',
    'annotation furiwake.dev/health-check-interval="1d" (valid: 500ms to 1h; units: ms, s, m, h)',
  ],
  ['server-timeout', '1', 'annotation furiwake.dev/server-timeout="1" (valid: 1s to 24h; units: ms, s, m, h)'],
  [
    'proxy-protocol',
    'v3',
    'annotation furiwake.dev/proxy-protocol="v3" (valid: v1, v2, or a list such as 443=v2,imaps=v1)',
  ],
  ['http-mode', 'A B', 'annotation furiwake.dev/http-mode="A B" (valid: all, or a list such as 80,web)'],
  ['blance', 'source', 'annotation furiwake.dev/blance (unknown; did you mean furiwake.dev/balance?)'],
  ['zone', 'a', 'annotation furiwake.dev/zone (unknown)'],
])('the default %s=%s has the words of the condition', (name, text, words) => {
  expect(defaultTroubles([[`furiwake.dev/${name}`, text]])).toEqual([words]);
});

test('the usual defaults have no troubles', () => {
  const names = { dataplane: 'haproxy', backends: 'pods', 'http-mode': 'web', 'proxy-protocol': '25=v1' };
  expect(defaultTroubles(Object.entries(names).map(([name, text]) => [`furiwake.dev/${name}`, text]))).toEqual([]);
});
