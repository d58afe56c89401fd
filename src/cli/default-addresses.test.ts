import { expect, test } from 'vitest';
import { execOf } from '../../test/make/exec.ts';
import { formatRange } from '../core/ip/range.ts';
import { defaultAddresses } from './default-addresses.ts';

type Address = {
  readonly local: string;
  readonly prefixlen?: number;
  readonly temporary?: boolean;
  readonly deprecated?: boolean;
};
type Scene = {
  readonly routes4?: readonly object[];
  readonly routes6?: readonly object[];
  /** Of the interfaces, all families. */
  readonly addresses?: Readonly<Record<string, readonly Address[]>>;
  /** By our doing; text → interface. */
  readonly ours?: Readonly<Record<string, string>>;
};

async function defaultsOf({ routes4, routes6, addresses = {}, ours = {} }: Scene): Promise<readonly string[]> {
  const exec = execOf((command) => {
    const [, , family, what, , ...rest] = command.split(' ');
    const routes = family === '-4' ? routes4 : routes6;
    if (what === 'route') return routes === undefined ? '' : JSON.stringify(routes);
    const on = (addresses[rest[1] ?? ''] ?? []).filter(({ local }) => local.includes(':') === (family === '-6'));
    return JSON.stringify([{ addr_info: on }]);
  });
  return (await defaultAddresses(exec, new Map(Object.entries(ours)), new AbortController().signal)).map(formatRange);
}

const eth0 = [{ dst: 'default', gateway: '192.0.2.1', dev: 'eth0' }];
const own = { local: '192.0.2.51', prefixlen: 24 };

test.each<[string, Scene, readonly string[]]>([
  ['the address on it', { routes4: eth0, addresses: { eth0: [own] } }, ['192.0.2.51']],
  [
    'one of each family',
    { routes4: eth0, routes6: eth0, addresses: { eth0: [own, { local: '2001:db8::51' }] } },
    ['192.0.2.51', '2001:db8::51'],
  ],
  [
    'an address that is alone in its subnet, as clouds give it',
    {
      routes4: eth0,
      routes6: eth0,
      addresses: {
        eth0: [
          { local: '10.0.0.2', prefixlen: 32 },
          { local: '2001:db8::2', prefixlen: 128 },
        ],
      },
    },
    ['10.0.0.2', '2001:db8::2'],
  ],
  [
    'none that is there by our doing',
    {
      routes6: eth0,
      addresses: { eth0: [{ local: '2001:db8::200', prefixlen: 128 }, { local: '2001:db8::51' }] },
      ours: { '2001:db8::200': 'eth0' },
    },
    ['2001:db8::51'],
  ],
  [
    'one that was ours on another interface, and is its own by now',
    { routes4: eth0, addresses: { eth0: [own] }, ours: { [own.local]: 'furiwake0' } },
    ['192.0.2.51'],
  ],
  [
    'none that will not last',
    {
      routes6: eth0,
      addresses: {
        eth0: [
          { local: '2001:db8::a', temporary: true },
          { local: '2001:db8::b', deprecated: true },
          { local: '2001:db8::51' },
        ],
      },
    },
    ['2001:db8::51'],
  ],
  [
    'the first next hop of several',
    { routes4: [{ dst: 'default', nexthops: [{ dev: 'eth1' }, { dev: 'eth0' }] }], addresses: { eth1: [own] } },
    ['192.0.2.51'],
  ],
  [
    'the route with the lowest metric',
    {
      routes4: [
        { dev: 'wlan0', metric: 600 },
        { dev: 'eth0', metric: 100 },
      ],
      addresses: { eth0: [own], wlan0: [{ local: '198.51.100.1' }] },
    },
    ['192.0.2.51'],
  ],
])('without --addresses, of the default route: %s', async (_, scene, addresses) => {
  expect(await defaultsOf(scene)).toEqual(addresses);
});

test('no default route is told as such', async () => {
  await expect(defaultsOf({})).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(/no default route/),
  });
});

test('an interface without a usable address is named', async () => {
  const scene = {
    routes4: eth0,
    routes6: [{ dev: 'tun0' }],
    addresses: { eth0: [own] },
    ours: { [own.local]: 'eth0' },
  };
  await expect(defaultsOf(scene)).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(/^there is no usable address on eth0, tun0, .*--addresses$/),
  });
});
