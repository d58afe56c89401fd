import { describe, expect, test } from 'vitest';
import { node } from '../../../test/make/table.ts';
import { tcp } from '../../../test/make/service.ts';
import { expectOwnLinesOnly } from '../../../test/sim/hostile/rendered.ts';
import { withOptions } from '../../../test/make/options.ts';
import { tableOf } from '../../../test/make/table.ts';
import { optionPrefix } from '../model/contract.ts';
import { decodeProxyOptions, optionNames } from './decode-options.ts';
import { optionsOfPort } from './port-options.ts';

/*
 * Each annotation that HAProxy's settings are decoded from, with texts that are not valid: one problem, no other effect.
 */
const ports = [{ ...tcp(80), name: 'web' }];

const wrongCounts = [
  '0',
  '-1',
  '+1',
  '1.5',
  '1e3',
  '0x10',
  '01',
  '1000001',
  '99999999999999999999',
  '1 0',
  '1k',
  'NaN',
];
const wrongDurations = ['0s', '-1s', '1', '1d', '1.5s', '1 s', '1S', '1µs', '1s1s', '99999999999h', 's'];

/** What is wrong for one annotation and may be valid for another: type, range, unit. */
const wrongTexts: Readonly<Record<(typeof optionNames)[number], readonly string[]>> = {
  'proxy-protocol': ['v3', '1', 'v1v2', 'v1;v2', '=v1', '80=', '80=v3', '81=v1', 'web=v1,web', '65536=v1', '-80=v1'],
  'http-mode': ['true', 'ALL', '81', '80;web', '0', 'web,', ',', '65616', '80 web'],
  'max-connections': wrongCounts,
  'max-connections-per-client': wrongCounts,
  'connection-rate': [...wrongCounts, '5/s'],
  'connection-rate-per-client': [...wrongCounts, '5/s'],
  'max-connections-per-server': wrongCounts,
  'slow-start': [...wrongDurations, '999ms', '61m'],
  'drain-time': [...wrongDurations, '999ms', '25h'],
  'connect-timeout': [...wrongDurations, '49ms', '61s'],
  'idle-timeout': [...wrongDurations, '999ms', '25h'],
  'server-timeout': [...wrongDurations, '999ms', '25h'],
  balance: ['random', 'RoundRobin', 'round robin', 'source,leastconn', '0', 'hdr(host)'],
  'health-check': [
    'http',
    'http:',
    'http:ready',
    'https:/ready',
    'TCP',
    'tcp:80',
    'http:/a b',
    'http:/%[src]',
    'http:/"',
  ],
  'health-check-interval': [...wrongDurations, '499ms', '61m'],
  'health-check-fall': [...wrongCounts, '101'],
  'health-check-rise': [...wrongCounts, '101'],
  'server-metrics': ['yes', '1', 'True', 'false', 'true,true'],
};

/** Valid nowhere: texts that would change a configuration or a command of HAProxy or nft if they reached it. */
const injections: readonly (readonly [what: string, text: string])[] = [
  ['an empty text', ''],
  ['a blank before', ' v1\t30s'],
  ['a new line', '30s\n    server x 192.0.2.9:80'],
  ['a new line at the end', '100\n'],
  ['a return', 'tcp\r\nX: y'],
  ['NUL', 'v1\u0000'],
  ['a second command', 'leastconn; shutdown sessions server x/y'],
  ['a keyword', 'source if { src 192.0.2.9 }'],
  ['quotes', `"true"'`],
  ['a backslash', 'true\\'],
  ['a sample expression', 'http:/%[env(HOME)]'],
  ['a comment', '10 # x'],
  ['a variable', '${HOME}'],
  ['a map entry', '80|nodes4|22|1'],
  ['an nft rule', '10 } ; flush ruleset ; {'],
  ['a control character', '10\u001B[2J'],
  ['letters like digits', '１０'],
  ['a text of 1 MB', '1'.repeat(1_000_000)],
  ['a million commas', ','.repeat(1_000_000)],
  ['a path of 1 MB', `http:/${'a'.repeat(1_000_000)}`],
  ['JSON', '{"proxy":"v2"}'],
  ['a prototype', '__proto__'],
];

/** Beside a valid annotation that must stay in force; others that are needed for `name` to have an effect. */
function decode(name: (typeof optionNames)[number], text: string) {
  const needed: Readonly<Record<string, string>> = {
    ...(name.startsWith('health-check-') ? { 'health-check': 'tcp' } : {}),
    ...(name === 'server-timeout' ? { 'http-mode': 'all' } : {}),
  };
  const beside = name === 'slow-start' ? { 'drain-time': '1h' } : { 'slow-start': '2s' };
  const request = {
    options: Object.entries({ ...needed, ...beside, [name]: text }).map(
      ([short, value]) => [`${optionPrefix}${short}`, value] as const,
    ),
    ports,
    backends: undefined,
    sessionAffinity: 'None',
    affinitySeconds: 0,
  };
  const without = { ...request, options: request.options.filter(([full]) => full !== `${optionPrefix}${name}`) };
  return { request, without };
}

describe.each(optionNames)('%s', (name) => {
  test.each([...wrongTexts[name].map((text) => [text, text] as const), ...injections])(
    '%s is one problem',
    (_, text) => {
      const { request, without } = decode(name, text);
      const { problems, ...options } = decodeProxyOptions(request);
      const { problems: none, ...others } = decodeProxyOptions(without);
      expect(none).toEqual([]);
      expect(options).toEqual(others); // as without the annotation
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatch(/^annotation furiwake\.dev\/[a-z-]+="?[\u0020-\u007E…]*$/);
      expect(problems[0]?.length).toBeLessThan(300);
    },
  );

  test('after decoding, it adds no line of another kind to HAProxy or nft', () => {
    for (const [, text] of injections) {
      const options = optionsOfPort(decode(name, text).request, ports[0]!, false);
      const listener = withOptions('192.0.2.51', 80, 30_080, options ?? {});
      expect(() => expectOwnLinesOnly(tableOf([listener], [node('n1', '192.0.2.1')]))).not.toThrow();
    }
  });
});

test('an unknown annotation with a long name is named in part', () => {
  const { problems } = decodeProxyOptions({ options: [[`${optionPrefix}${'x'.repeat(1_000_000)}`, 'y']], ports });
  expect(problems).toHaveLength(1);
  expect(problems[0]?.length).toBeLessThan(200);
});
