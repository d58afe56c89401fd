import type { Clock } from '../../src/ports/clock.ts';

/** The interfaces of a kernel in memory, and their addresses. */
export type FakeLinks = {
  /** Performs a command and returns its output; throws the words of the kernel. */
  perform(command: string): string;
  /** As `ip -json address` lists them. */
  json(): string;
  /** Whether an interface has the address. */
  has(address: string): boolean;
  /** Removes an address from the first interface that has it, like another program. */
  takeAway(address: string): void;
  /** Adds an Ethernet interface that is up. */
  addEthernet(name: string, ...cidrs: readonly string[]): void;
  /** Says what the kernel reports, as furiwake's script prints it; the returned function ends it. */
  watch(say: (line: string) => void): () => void;
};

type FakeAddress = {
  readonly cidr: string;
  readonly scope: string;
  /** `undefined`: forever. */
  untilMs: number | undefined;
  isPreferred: boolean;
  metric: number | undefined;
};

type FakeLink = {
  readonly index: number;
  readonly kind: string;
  isUp: boolean;
  /** By address. */
  readonly addresses: Map<string, FakeAddress>;
};

const forever = 2 ** 32 - 1;
const mac = '02:00:00:00:00:01';

export function makeFakeLinks(clock: Clock): FakeLinks {
  const links = new Map<string, FakeLink>();
  const watchers = new Set<(line: string) => void>();
  const tell = (line: string): void => {
    for (const say of watchers) say(line);
  };
  let lastIndex = 0;
  const add = (name: string, kind: string, isUp = false): FakeLink => {
    const link = { index: ++lastIndex, kind, isUp, addresses: new Map<string, FakeAddress>() };
    links.set(name, link);
    return link;
  };
  const lo = add('lo', 'loopback', true);
  for (const cidr of ['127.0.0.1/8', '::1/128']) put(lo, cidr, [], clock);

  const linkOf = (name: string): FakeLink => {
    const link = links.get(name);
    if (link === undefined) throw new Error(`Cannot find device "${name}"`);
    for (const [text, { untilMs }] of link.addresses)
      if (untilMs !== undefined && untilMs <= clock.monotonic()) link.addresses.delete(text);
    return link;
  };
  const tellLink = (name: string, { index, isUp }: FakeLink): void =>
    tell(`link ${index} ${isUp ? 1 : 0} ${name} ${mac}`);

  const lose = ({ index, addresses }: FakeLink, isLost: (text: string) => boolean): void => {
    for (const [text, { cidr }] of addresses) {
      if (!isLost(text)) continue;
      addresses.delete(text);
      tell(`removed ${index} ${cidr.split('/')[1]} ${text}`);
    }
  };

  const changeLink = (verb: string, name: string, rest: readonly string[]): void => {
    if (verb === 'add') {
      if (links.has(name)) throw new Error('RTNETLINK answers: File exists');
      if (!['dummy', 'bridge'].includes(rest[1] ?? '')) throw new Error('Error: Unknown device type.');
      tellLink(name, add(name, 'ether'));
      return;
    }
    const link = linkOf(name);
    if (verb === 'delete') {
      lose(link, () => true);
      links.delete(name);
      tell(`gone ${link.index}`);
    } else if (rest[0] === 'up' || rest[0] === 'down') {
      link.isUp = rest[0] === 'up';
      tellLink(name, link);
      if (!link.isUp) lose(link, (text) => text.includes(':'));
    }
  };

  const changeAddress = (verb: string, cidr: string, name: string, flags: readonly string[]): void => {
    const link = linkOf(name);
    const [text = '', length = ''] = cidr.split('/');
    const [family, noun] = text.includes(':') ? ['ipv6', 'address'] : ['ipv4', 'Address'];
    const known = link.addresses.get(text);
    if (verb === 'add' && known?.cidr === cidr) throw new Error(`Error: ${family}: ${noun} already assigned.`);
    if (verb !== 'delete') {
      put(link, cidr, flags, clock);
      tell(`added ${link.index} ${length} ${text}`);
      return;
    }
    if (known?.cidr !== cidr) throw new Error(`Error: ${family}: ${noun} not found.`);
    link.addresses.delete(text);
    tell(`removed ${link.index} ${length} ${text}`);
  };

  return {
    perform: (command) => {
      const [noun = '', verb = '', what = '', ...rest] = command.split(' ');
      if (command === 'link show dev lo') return '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536\n';
      if (noun === 'link') changeLink(verb, what, rest);
      else if (noun === 'address') changeAddress(verb, what, rest[1] ?? '', rest.slice(2));
      else throw new Error(`Object "${noun}" is unknown, try "ip help".`);
      return '';
    },
    json: () => JSON.stringify(Array.from(links.keys(), (name) => linkJson(name, linkOf(name), clock))),
    has: (address) => Array.from(links.keys(), linkOf).some(({ addresses }) => addresses.has(address)),
    takeAway: (address) => {
      for (const [name, { addresses }] of links) {
        const cidr = addresses.get(address)?.cidr;
        if (cidr !== undefined) return changeAddress('delete', cidr, name, []);
      }
    },
    addEthernet: (name, ...cidrs) => {
      const link = add(name, 'ether', true);
      for (const cidr of cidrs) put(link, cidr, [], clock);
    },
    watch: (say) => {
      watchers.add(say);
      say('unsure');
      return () => watchers.delete(say);
    },
  };
}

/** Adds an address, or changes it. */
function put({ addresses }: FakeLink, cidr: string, flags: readonly string[], clock: Clock): void {
  const after = (flag: string): string | undefined => flags[flags.indexOf(flag) + 1 || flags.length];
  const [text = ''] = cidr.split('/');
  const seconds = after('valid_lft') ?? 'forever';
  const metric = after('metric');
  addresses.set(text, {
    cidr,
    scope: addresses.get(text)?.scope ?? after('scope') ?? 'global',
    untilMs: seconds === 'forever' ? undefined : clock.monotonic() + 1000 * Number(seconds),
    isPreferred: after('preferred_lft') !== '0',
    metric: metric === undefined ? undefined : Number(metric),
  });
}

function linkJson(ifname: string, { index, kind, isUp, addresses }: FakeLink, clock: Clock): object {
  return {
    ifindex: index,
    ifname,
    flags: isUp ? ['UP', 'LOWER_UP'] : [],
    mtu: kind === 'loopback' ? 65_536 : 1_500,
    link_type: kind,
    address: kind === 'loopback' ? '00:00:00:00:00:00' : mac,
    addr_info: Array.from(addresses.values(), ({ cidr, scope, untilMs, isPreferred, metric }) => {
      const [local = '', length] = cidr.split('/');
      const left = untilMs === undefined ? forever : Math.ceil((untilMs - clock.monotonic()) / 1000);
      return {
        family: local.includes(':') ? 'inet6' : 'inet',
        local,
        prefixlen: Number(length),
        ...(metric !== undefined && { metric }),
        scope: kind === 'loopback' ? 'host' : scope,
        ...(!isPreferred && { deprecated: true }),
        ...(untilMs !== undefined && { dynamic: true }),
        valid_life_time: left,
        preferred_life_time: isPreferred ? left : 0,
      };
    }),
  };
}
