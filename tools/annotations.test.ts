import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { expect, test } from 'vitest';
import { optionPrefix } from '../src/core/model/contract.ts';
import { decodeProxyOptions, optionNames } from '../src/core/traffic/decode-options.ts';
import { plainProfile } from '../src/core/traffic/options.ts';
import { optionsOfPort } from '../src/core/traffic/port-options.ts';
import { tcp } from '../test/make/service.ts';

const rows = [
  ...readFileSync('docs/annotations.md', 'utf8').matchAll(/^\| `([a-z-]+)` +\| (.*?) +\|.* \| ([^|]*?) +\|$/gm),
];

test('the page on annotations has a row for each one', () => {
  expect(rows.map(([, name = '']) => name).toSorted()).toEqual([...optionNames].toSorted());
});

test.each(
  rows
    .map(([, name = '', values = '']) => [name, values] as const)
    .filter(([name]) => name !== 'proxy-protocol' && name !== 'http-mode'),
)('the values of %s are those that are valid', (name, values) => {
  const check = name.startsWith('health-check-') ? [[`${optionPrefix}health-check`, 'tcp'] as const] : [];
  const { problems } = decodeProxyOptions({ options: [...check, [`${optionPrefix}${name}`, '?']], ports: [] });
  const [, valid] = /\(valid: (.*?)(?:; units: .*)?\)$/.exec(problems[0] ?? '') ?? [];
  expect(values.replaceAll('`', '')).toBe(valid);
});

/** A valid text for each annotation, which is not what applies without it. */
const texts: Readonly<Record<string, string>> = {
  'proxy-protocol': 'v2',
  'http-mode': 'all',
  'health-check': 'http:/ready',
  balance: 'leastconn',
  'server-metrics': 'true',
};

test.each(rows.map(([, name = '', values = '', costs = '']) => [name, costs, values] as const))(
  'a change of %s costs what the page says: %s',
  (name, costs, values) => {
    const needed = {
      ...(name.startsWith('health-check-') && { 'health-check': 'tcp' }),
      ...(name === 'server-timeout' && { 'http-mode': 'all' }),
    };
    const text = texts[name] ?? (values.startsWith('1 to') ? '7' : '9s');
    const [profile, before] = [{ ...needed, [name]: text }, needed].map((annotations) => {
      const options = Object.entries(annotations).map(([short, value]) => [`${optionPrefix}${short}`, value] as const);
      const request = { options, ports: [tcp(80)], backends: undefined, sessionAffinity: 'None', affinitySeconds: 0 };
      expect(decodeProxyOptions(request).problems).toEqual([]);
      return optionsOfPort(request, tcp(80), false)?.profile ?? plainProfile;
    });
    expect(isDeepStrictEqual(profile, before) ? 'nothing' : 'profile').toBe(costs.replace('path: ', ''));
  },
);
