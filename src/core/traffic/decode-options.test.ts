import { describe, expect, test } from 'vitest';
import { tcp, udp } from '../../../test/make/service.ts';
import { decodeProxyOptions, type ProxyOptions, optionNames } from './decode-options.ts';
import { optionsOfPort } from './port-options.ts';
import { noLimits, plainProfile, plainServer } from './options.ts';

const ports = [
  { ...tcp(25), name: 'smtp' },
  { ...tcp(993), name: 'imaps' },
  { ...udp(53), name: 'dns' },
];

const unaffine = { backends: undefined, sessionAffinity: 'None', affinitySeconds: 10_800 };

function decode(annotations: Readonly<Record<string, string>>): ProxyOptions {
  return decodeProxyOptions({
    options: Object.entries(annotations).map(([name, text]) => [`furiwake.dev/${name}`, text]),
    ports,
  });
}

test('all annotations together', () => {
  expect(
    decode({
      'proxy-protocol': 'v2',
      'http-mode': '993',
      'max-connections': '100',
      'max-connections-per-client': '10',
      'connection-rate': '50',
      'connection-rate-per-client': '5',
      'max-connections-per-server': '20',
      'slow-start': '30s',
      'connect-timeout': '500ms',
      'idle-timeout': '2h',
      'server-timeout': '20s',
      'drain-time': '10m',
      balance: 'leastconn',
      'health-check': 'http:/ready?full=1',
      'health-check-interval': '5s',
      'health-check-fall': '2',
      'health-check-rise': '1',
      'server-metrics': 'true',
    }),
  ).toEqual({
    proxyProtocol: new Map([
      [25, 2],
      [993, 2],
    ]),
    limits: { connections: 100, clientConnections: 10, rate: 50, clientRate: 5 },
    server: {
      proxyProtocol: 0,
      mostConnections: 20,
      slowStartMs: 30_000,
      drainMs: 600_000,
      check: { intervalMs: 5000, fall: 2, rise: 1 },
    },
    http: new Set([993]),
    profile: {
      mode: 'tcp',
      balance: 'leastconn',
      connectTimeoutMs: 500,
      idleTimeoutMs: 7_200_000,
      serverTimeoutMs: 20_000,
      affinitySeconds: 0,
      checkPath: '/ready?full=1',
    },
    isMeasured: true,
    used: expect.any(Array),
    problems: [],
  });
});

test('a Service without annotations has no options', () => {
  expect(decode({})).toEqual({
    limits: noLimits,
    server: plainServer,
    profile: plainProfile,
    http: new Set(),
    proxyProtocol: new Map(),
    isMeasured: false,
    used: [],
    problems: [],
  });
});

describe('the PROXY protocol by port', () => {
  test.each<[text: string, versions: Readonly<Record<string, number>>, problem?: string]>([
    ['v1', { 25: 1, 993: 1 }],
    ['smtp=v2', { 25: 2 }],
    ['993=v1, smtp=v2', { 25: 2, 993: 1 }],
    ['v1,993=v2', { 25: 1, 993: 2 }],
    ['V1', {}, '(valid: v1, v2, or a list such as 443=v2,imaps=v1)'],
    ['true', {}, '(valid: v1, v2, or a list such as 443=v2,imaps=v1)'],
    ['v1,', {}, '(valid: v1, v2, or a list such as 443=v2,imaps=v1)'],
    ['smtp=v2,443=v1', {}, '(no TCP port 443)'],
    ['dns=v2', {}, '(no TCP port dns)'],
  ])('%s', (text, versions, problem) => {
    const { proxyProtocol, problems } = decode({ 'proxy-protocol': text });
    expect(Object.fromEntries(proxyProtocol)).toEqual(versions);
    expect(problems).toEqual(
      problem === undefined ? [] : [`annotation furiwake.dev/proxy-protocol="${text}" ${problem}`],
    );
  });
});

test.each<[text: string, found: readonly number[], problem?: string]>([
  ['all', [25, 993]],
  ['993', [993]],
  ['imaps, 25', [25, 993]],
  ['dns', [], '(no TCP port dns)'],
  ['80', [], '(no TCP port 80)'],
  ['25,', [], '(valid: all, or a list such as 80,web)'],
  ['25\n    mode http', [], '(valid: all, or a list such as 80,web)'],
])('the ports in HTTP mode: %j', (text, found, problem) => {
  const { http, problems } = decode({ 'http-mode': text });
  expect([...http].toSorted((a, b) => a - b)).toEqual(found);
  expect(problems.join()).toContain(problem ?? '');
  expect(problems).toHaveLength(problem === undefined ? 0 : 1);
});

test('a port in HTTP mode has the other settings of the profile, and stays in it without them', () => {
  const options = [
    ['furiwake.dev/http-mode', 'smtp'],
    ['furiwake.dev/balance', 'leastconn'],
  ] as const;
  const [smtp, imaps] = ports.map((port) => optionsOfPort({ ...unaffine, options, ports }, port, false)?.profile);
  expect([smtp, imaps]).toMatchObject([
    { mode: 'http', balance: 'leastconn' },
    { mode: 'tcp', balance: 'leastconn' },
  ]);
  const [plain] = ports.map((port) => optionsOfPort({ ...unaffine, options, ports }, port, true)?.profile);
  expect(plain).toEqual({ ...plainProfile, mode: 'http' });
});

test('the timeout of servers is for ports in HTTP mode, and without any it is named', () => {
  const options = [
    ['furiwake.dev/http-mode', 'smtp'],
    ['furiwake.dev/server-timeout', '5s'],
  ] as const;
  const found = ports.map((port) => optionsOfPort({ ...unaffine, options, ports }, port, false)?.profile);
  expect(found.map((profile) => profile?.serverTimeoutMs)).toEqual([5000, undefined, undefined]);
  expect(decode({ 'server-timeout': '5s' }).problems).toEqual([
    'annotation furiwake.dev/server-timeout="5s" (only with a valid furiwake.dev/http-mode)',
  ]);
});

describe('a text that is not valid has no effect, and is named with those that are', () => {
  test.each([
    ['max-connections', '0', '1 to 1000000'],
    ['max-connections', '-1', '1 to 1000000'],
    ['max-connections', '1e3', '1 to 1000000'],
    ['max-connections', '1000001', '1 to 1000000'],
    ['connection-rate', '10/s', '1 to 1000000'],
    ['health-check', 'http', 'tcp, http:/path'],
    ['health-check', 'http://web/ready', 'tcp, http:/path'],
    ['health-check', 'http:/a b', 'tcp, http:/path'],
    ['health-check', 'http:/a\nserver x', 'tcp, http:/path'],
    ['health-check', 'http:/%[env(A)]', 'tcp, http:/path'],
    ['health-check', `http:/${'a'.repeat(128)}`, 'tcp, http:/path'],
    ['idle-timeout', '30', '1s to 24h; units: ms, s, m, h'],
    ['idle-timeout', '999ms', '1s to 24h; units: ms, s, m, h'],
    ['idle-timeout', '25h', '1s to 24h; units: ms, s, m, h'],
    ['connect-timeout', '1m 30s', '50ms to 60s; units: ms, s, m, h'],
    ['balance', 'Leastconn', 'roundrobin, leastconn, source'],
    ['balance', 'roundrobin\n    mode http', 'roundrobin, leastconn, source'],
  ])('%s=%j', (name, text, valid) => {
    const { problems, ...rest } = decode({ [name]: text });
    const { problems: none, ...usual } = decode({});
    expect(none).toEqual([]);
    expect(rest).toEqual(usual);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^annotation furiwake\\.dev/${name}=".*" \\(valid: ${valid}\\)$`));
  });
});

test.each([
  ['max-conections', '; did you mean furiwake.dev/max-connections?'],
  ['sharing_key', '; did you mean furiwake.dev/sharing-key?'],
  ['backend', '; did you mean furiwake.dev/backends?'],
  ['zone', ''],
])('the annotation %s, which furiwake does not know, is named', (name, similar) => {
  expect(decode({ [name]: '5' }).problems).toEqual([`annotation furiwake.dev/${name} (unknown${similar})`]);
});

test('a threshold without a check is named', () => {
  expect(decode({ 'health-check-fall': '5' }).problems).toEqual([
    'annotation furiwake.dev/health-check-fall="5" (only with a valid furiwake.dev/health-check)',
  ]);
});

test('only TCP ports have options, and only those that differ from the usual ones', () => {
  const options = [['furiwake.dev/proxy-protocol', '25=v1']] as const;
  const [smtp, imaps, dns] = ports.map((port) => optionsOfPort({ ...unaffine, options, ports }, port, false));
  expect(smtp).toEqual({
    limits: noLimits,
    profile: plainProfile,
    server: { ...plainServer, proxyProtocol: 1 },
    isMeasured: false,
  });
  expect([imaps, dns]).toEqual([undefined, undefined]);
});

test('every name is one of an annotation', () => {
  expect(new Set(optionNames).size).toBe(18);
  for (const name of optionNames) expect(decode({ [name]: '?' }).problems).toHaveLength(1);
});

test('HAProxy keeps a client with its Pod for the timeout of the Service, and not where nodes are its servers', () => {
  const affine = { options: [], ports, backends: 'pods', sessionAffinity: 'ClientIP', affinitySeconds: 60 };
  const [smtp, , dns] = ports.map((port) => optionsOfPort(affine, port, false));
  expect(smtp?.profile).toEqual({ ...plainProfile, affinitySeconds: 60 });
  expect(dns).toBeUndefined();
  const [first] = ports;
  expect(optionsOfPort({ ...affine, backends: undefined }, first!, false)).toBeUndefined();
  expect(optionsOfPort({ ...affine, sessionAffinity: 'None' }, first!, false)).toBeUndefined();
  expect(optionsOfPort(affine, first!, true)?.profile).toEqual({ ...plainProfile, affinitySeconds: 10_800 });
});
