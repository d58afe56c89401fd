import { describe, expect, test } from 'vitest';
import { filesOf, noPrograms } from '../../test/sim/harness.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { HostAddresses } from '../ports/network.ts';
import { decodeInterfaces } from './interfaces.ts';
import { settled, viewOf } from './view.ts';

const interfaces = decodeInterfaces(
  JSON.stringify([
    {
      ifindex: 2,
      ifname: 'eth0',
      flags: ['UP', 'LOWER_UP'],
      link_type: 'ether',
      addr_info: [
        { local: '192.0.2.11', prefixlen: 32, scope: 'global' },
        { local: '192.0.2.50', prefixlen: 32, scope: 'global' },
      ],
    },
  ]),
);
const exec = {
  ...noPrograms,
  run: async (_: string, [family]: readonly string[]) => ({
    stdout: family === '-4' ? '[{"dst":"default","dev":"eth0","gateway":"192.0.2.1"}]' : '',
    stderr: '',
  }),
};

describe('the view of a host', () => {
  const view = (texts: Readonly<Record<string, string>> = {}): ReturnType<typeof viewOf> => {
    const files = filesOf(new Map(Object.entries(texts)));
    const record = PersistentMap.from([['192.0.2.50', 'eth0']]);
    return viewOf(interfaces, record, { exec, files }, new AbortController().signal);
  };
  const gateway = ['192.0.2.1', 'default gateway of this host'] as const;
  const server = (text: string): readonly [string, string] => [text, 'DNS server of this host'];

  test('separates the own addresses from those of furiwake', async () => {
    const { own, primary, present } = await view();
    expect([...own.keys()]).toEqual(['192.0.2.11']);
    expect(primary.map(({ text }) => text)).toEqual(['192.0.2.11']);
    expect([...present]).toEqual([['192.0.2.50', 'eth0']]);
  });

  test.each<[string, Readonly<Record<string, string>>, readonly (readonly [string, string])[]]>([
    ['of a host without resolv.conf are its gateways', {}, []],
    ['are the DNS servers', { '/etc/resolv.conf': 'nameserver 192.0.2.53\n' }, [server('192.0.2.53')]],
    [
      'are the DNS servers behind the stub of systemd-resolved',
      {
        '/etc/resolv.conf': 'nameserver 127.0.0.53\n',
        '/run/systemd/resolve/resolv.conf': 'nameserver 192.0.2.53\nnameserver 2001:db8::53',
      },
      [server('127.0.0.53'), server('192.0.2.53'), server('2001:db8::53')],
    ],
    [
      'are the DNS servers of both files, also where the first ends without a newline',
      { '/etc/resolv.conf': 'nameserver 192.0.2.53', '/run/systemd/resolve/resolv.conf': 'nameserver 192.0.2.54' },
      [server('192.0.2.53'), server('192.0.2.54')],
    ],
  ])('its needs %s', async (_, files, servers) => {
    expect([...(await view(files)).needs]).toEqual([gateway, ...servers]);
  });

  test('a host whose resolv.conf cannot be read is read without it', async () => {
    const files = { read: () => Promise.reject(new Error('EACCES')) };
    const { needs } = await viewOf(interfaces, PersistentMap.empty(), { exec, files }, new AbortController().signal);
    expect([...needs]).toEqual([gateway]);
  });
});

describe('the addresses of a host', () => {
  const [eth0] = interfaces;
  const address = eth0!.addresses[0]!.ip;
  const before: HostAddresses = {
    own: new Map([[address.text, address]]),
    primary: [address],
    needs: new Map([['192.0.2.1', 'default gateway of this host']]),
    routed: [],
    refused: new Map(),
  };
  const read = (more: Partial<HostAddresses> = {}): HostAddresses => ({
    own: new Map(before.own),
    primary: [...before.primary],
    needs: new Map(before.needs),
    routed: [...before.routed],
    refused: new Map(before.refused),
    ...more,
  });

  test('are the same object while nothing differs', () => {
    expect(settled(before, read())).toBe(before);
  });

  test.each<Partial<HostAddresses>>([
    { own: new Map() },
    { primary: [] },
    { needs: new Map([['192.0.2.1', 'DNS server of this host']]) },
    { refused: new Map([['192.0.2.8', 'no']]) },
  ])('keep the identity of all parts but the one that differs: %o', (more) => {
    const after = settled(before, read(more));
    expect(after).toEqual(read(more));
    const kept = (['own', 'primary', 'needs', 'refused'] as const).filter((part) => after[part] === before[part]);
    expect(kept).toHaveLength(3);
  });
});
