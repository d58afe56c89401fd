import type { Element } from '../../src/dataplane/nftables/element.ts';
import type { TableSpec } from '../../src/dataplane/nftables/table-text.ts';

/** The parts of keys, by nft's type. */
const samples: Readonly<Record<string, readonly string[]>> = {
  ipv4_addr: ['192.0.2.1', '10.0.0.1'],
  ipv6_addr: ['2001:db8::1', '::c000:201', '::1'],
  inet_service: ['80', '65535'],
  inet_proto: ['tcp', 'udp', 'sctp'],
  classid: ['0:1', '0:1f', '1:0', 'ffff:a'],
  ifname: ['"eth0"', '"br-1.100"'],
  nf_proto: ['ipv6'],
  mark: ['1', '8193', '4294967295'],
  iface_index: ['"lo"'],
  ether_addr: ['02:00:00:00:00:01', 'fe:ff:ff:00:00:0a'],
  'ip daddr': ['192.0.2.1', '10.0.0.1'],
  'ip6 daddr': ['2001:db8::1', '::c000:201'],
  'meta priority': ['0:1', '0:1f', '1:0', 'ffff:a'],
  'meta l4proto': ['tcp', 'udp', 'sctp'],
  'meta length': ['0', '1', '1023'],
  'th dport': ['53', '65535'],
  '@th,136,8': ['6', '17', '132'],
  '@th,112,8': ['6', '17', '132'],
  '@th,224,16': ['53', '65535'],
  '@th,384,16': ['53', '65535'],
  verdict: [
    'jump keep4for600',
    'jump keep6for86400',
    'jump pods4of32',
    'jump pods6of1',
    'jump client4for10',
    'jump client6for86400',
    'goto straight4',
    'goto rangedchecked6',
  ],
};
const ranges: Readonly<Record<string, readonly string[]>> = {
  ipv4_addr: [
    '10.0.0.0-10.255.255.255',
    '192.0.2.1',
    '198.51.100.1-198.51.100.6',
    '0.0.0.0-0.255.255.255',
    '240.0.0.0-255.255.255.255',
  ],
  ipv6_addr: [
    '2001:db8::-2001:db8::ffff',
    '2001:db9::1',
    '2001:dba::1-2001:dba::5',
    '::1-::5',
    'ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  ],
};

/** Elements of each set and map of a table, in the forms that furiwake writes. */
export function anElementOfEach({ sets }: TableSpec): readonly Element[] {
  return Object.entries(sets).flatMap(([set, declaration]) => elementsOf(set, declaration));
}

function elementsOf(set: string, declaration: string): readonly Element[] {
  const [, types = '', of = ''] = /\{ type(?:of)? ([^:;]+)(?: : ([^;]+))?;/.exec(declaration) ?? [];
  const columns = types
    .trim()
    .split(' . ')
    .map((type) => (/interval/.test(declaration) && ranges[type]) || samples[type] || []);
  // Of its family; the kernel accepts a chain that translates only where a chain of type nat leads to it.
  const chains = set === 'timeouts' ? 'client' : `${set.startsWith('hosted') ? 'pods' : 'keep'}${set.at(-1)}`;
  const verdict = set === 'straight' ? 'goto ' : `jump ${chains}`;
  const values =
    of === '' ? [''] : (samples[of] ?? []).filter((value) => of !== 'verdict' || value.startsWith(verdict));
  const count = Math.max(...columns.map(({ length }) => length));
  return Array.from({ length: count }, (_, row) => {
    const key = columns.map((column) => column[row % column.length]).join(' . ');
    const value = values[row % values.length];
    return { set, text: value === '' ? key : `${key} : ${value}` };
  });
}
