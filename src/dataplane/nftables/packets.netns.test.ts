import { addressesOf } from '../../../test/make/table.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type SteeringRig, ours, proxyPort, tableOf, targetOf, useSteering } from '../../../test/netns/steering-rig.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import type { Addresses } from '../../ports/host.ts';
import type { Steering } from '../../ports/steering.ts';

/*
 * Packets: the real kernel, the real nft, a real HAProxy.
 */
const { signal } = new AbortController();
let rig: SteeringRig;
let steering: Steering;
let lifetime: AbortController;
const open = tableOf([
  ['10.50.0.1', 80],
  ['fd50::1', 80],
  ['10.10.0.1', 8080],
]);

useSteering({}, (scene) => {
  ({ rig, steering, lifetime } = scene);
});

describe('a connection from a client', () => {
  beforeEach(() => apply(open));

  test.each([
    [
      'to a listener reaches HAProxy with the destination of the client',
      '10.50.0.1',
      80,
      '10.50.0.1 80 from 10.10.0.2',
    ],
    ['to a listener over IPv6 does as well', 'fd50::1', 80, 'fd50::1 80 from fd10::2'],
    ['to a listener on an address of the host itself does as well', '10.10.0.1', 8080, '10.10.0.1 8080 from 10.10.0.2'],
    [
      'to another port of an added address is rejected, although a daemon is bound to all addresses',
      '10.50.0.1',
      22,
      'ECONNREFUSED',
    ],
    ['to another port of an added IPv6 address is rejected', 'fd50::1', 22, 'ECONNREFUSED'],
    ['to an added address without a listener is rejected', '10.50.0.2', 80, 'ECONNREFUSED'],
    ['to the own address of the host reaches the daemon there', '10.10.0.1', 22, 'sshd'],
    [
      'to a listener whose address the host does not have is routed by the mark',
      '10.50.9.9',
      80,
      '10.50.9.9 80 from 10.10.0.2',
    ],
  ])('%s', async (_, address, port, answer) => {
    if (address === '10.50.9.9') await apply(tableOf([[address, port]]));
    expect(await rig.fetchFrom('client', address, port)).toBe(answer);
  });
});

describe('a connection of the host itself', () => {
  beforeEach(() => apply(open));

  test.each([
    ['to a listener reaches HAProxy', '10.50.0.1', 80, '10.50.0.1 80 from 10.50.0.1'],
    ['to a listener over IPv6 does as well', 'fd50::1', 80, 'fd50::1 80 from fd50::1'],
    ['to another port of an added address is rejected', '10.50.0.1', 22, 'ECONNREFUSED'],
    ['to its own address reaches the daemon there', '10.10.0.1', 22, 'sshd'],
  ])('%s', async (_, address, port, answer) => {
    expect(await rig.fetchFrom('balancer', address, port)).toBe(answer);
  });
});

describe('an added address', () => {
  beforeEach(() => apply(open));

  test.each(['10.50.0.1', 'fd50::1'])('answers ping: %s', async (address) => {
    expect(await rig.lab.client.exec('ping', '-c3', '-i0.2', '-W3', address)).toMatch(/ [123] received/);
  });

  test.each([
    ['rejects UDP at once, although a daemon is bound to all addresses', '10.50.0.1', 'refused'],
    ['rejects UDP over IPv6', 'fd50::1', 'refused'],
    ['does not affect UDP to an own address of the host', '10.10.0.1', 'answered'],
  ])('%s', async (_, address, outcome) => {
    const daemon = `use IO::Socket::IP; $| = 1;
      my $s = IO::Socket::IP->new(Proto => 'udp', LocalHost => '::', LocalPort => 53, V6Only => 0) or die $@;
      print "ready\\n"; while (defined $s->recv(my $question, 9)) { $s->send('y') }`;
    const ask = `use IO::Socket::IP; $SIG{ALRM} = sub { print 'silence'; exit }; alarm 10;
      my $s = IO::Socket::IP->new(Proto => 'udp', PeerHost => '${address}', PeerPort => 53);
      $s->send('x'); print defined $s->recv(my $answer, 9) ? 'answered' : 'refused'`;
    const perl = rig.lab.balancer.execPort.spawn('perl', ['-e', daemon], lifetime.signal);
    expect(await perl.lines[Symbol.asyncIterator]().next()).toMatchObject({ value: 'ready' });
    expect(await rig.lab.client.exec('perl', '-e', ask)).toBe(outcome);
    await perl[Symbol.asyncDispose]();
  });

  test('is an ordinary one again after its removal', async () => {
    await apply(open, addressesOf());
    expect(await rig.fetchFrom('client', '10.50.0.1', 22)).toBe('sshd');
  });
});

describe('source ranges', () => {
  /** How long a blocked client gets no answer. */
  const silenceMs = 4_000;

  type Row = readonly [title: string, ranges: readonly string[], address: string, from: string | undefined];
  const portOf = (index: number): number => 80 + index;

  /** The answers to a client on the machine; each row has a port of its own, and all are asked at once. */
  async function answersTo(machine: 'client' | 'balancer', rows: readonly Row[], own?: Addresses): Promise<unknown> {
    const table = tableOf(rows.map(([, ranges, address], index) => [address, portOf(index), ranges]));
    await steering.apply(targetOf(table, ours, proxyPort, own), signal);
    const answers = rows.map(async ([title, , address, from], index) => {
      const timeoutMs = from === undefined ? silenceMs : undefined;
      return [title, await rig.fetchFrom(machine, address, portOf(index), timeoutMs)];
    });
    return await Promise.all(answers);
  }

  const expected = (rows: readonly Row[]): unknown =>
    rows.map(([title, , address, from], index) => [
      title,
      from === undefined ? 'timeout' : `${address} ${portOf(index)} from ${from}`,
    ]);

  test('admit the clients inside, and block the others', async () => {
    const rows: readonly Row[] = [
      ['inside', ['10.10.0.0/24'], '10.50.0.1', '10.10.0.2'],
      ['the only address', ['10.10.0.2'], '10.50.0.1', '10.10.0.2'],
      ['the last address of several', ['1.0.0.0/8', '10.9.0.0-10.10.0.2'], '10.50.0.1', '10.10.0.2'],
      ['outside', ['10.10.0.3-10.10.0.9', '10.9.0.0-10.10.0.1'], '10.50.0.1', undefined],
      ['the whole of IPv4', ['0.0.0.0/0'], '10.50.0.1', '10.10.0.2'],
      ['an empty list', [], '10.50.0.1', undefined],
      ['inside over IPv6', ['fd10::/64'], 'fd50::1', 'fd10::2'],
      ['outside over IPv6', ['fd10::3-fd10:ffff::'], 'fd50::1', undefined],
    ];
    expect(await answersTo('client', rows)).toEqual(expected(rows));
  });

  test('admit the host itself by its own addresses', async () => {
    const rows: readonly Row[] = [
      ['with an own address', ['10.10.0.1'], '10.50.0.1', '10.50.0.1'],
      ['over IPv6', ['fd10::/64'], 'fd50::1', 'fd50::1'],
      ['without one', ['10.10.0.2'], '10.50.0.1', undefined],
    ];
    const own = addressesOf('10.10.0.1', 'fd10::1');
    expect(await answersTo('balancer', rows, own)).toEqual(expected(rows));
  });

  test('change in one transaction, also to overlapping ones, and are removed', async () => {
    for (const ranges of [['10.10.0.0/16'], ['10.10.0.0/24'], ['10.10.0.0/28', '10.10.0.32/28'], undefined]) {
      await apply(tableOf([['10.50.0.1', 80, ranges]]));
      expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('10.50.0.1 80 from 10.10.0.2');
    }
    await apply(tableOf([['10.50.0.1', 80, ['1.1.1.1']]]));
    expect(await rig.fetchFrom('client', '10.50.0.1', 80, silenceMs)).toBe('timeout');
    expect(rig.sentAs('change')).toBe(4);
  });

  test('count the SYNs that they refuse, and an audit accepts the counters', async () => {
    const vips = ['10.50.0.1', 'fd50::1'];
    const table = tableOf(
      vips.flatMap((vip) => [
        [vip, 80, [vip.includes(':') ? '2001:db8::/32' : '1.1.1.1']] as const,
        [vip, 81] as const,
      ]),
    );
    const restricted = [...table.listeners.values()].flatMap(({ key, port }) => (port === 80 ? key : []));
    await apply(table);
    expect([...(await steering.refused(signal))]).toEqual(restricted.map((key) => [key, 0]));
    const answers = await Promise.all(vips.map((vip) => rig.fetchFrom('client', vip, 80, silenceMs)));
    expect(answers).toEqual(['timeout', 'timeout']);
    const refused = await steering.refused(signal);
    for (const key of restricted) expect(refused.get(key)).toBeGreaterThan(0);
    expect(await steering.audit(signal)).toBe(0);
  });

  test('of one listener do not concern another on the same address', async () => {
    await apply(
      tableOf([
        ['10.50.0.1', 80, []],
        ['10.50.0.1', 81],
      ]),
    );
    expect(await rig.fetchFrom('client', '10.50.0.1', 81)).toBe('10.50.0.1 81 from 10.10.0.2');
  });
});

describe('the mark', () => {
  const marking = `table inet other {
    chain before { type filter hook prerouting priority raw; meta mark set 0x1; }
    counter local { }
    counter routed { }
    chain after {
      type filter hook input priority 0;
      tcp dport 80 meta mark 0x1 counter name local
      tcp dport 80 meta mark 0x2001 counter name routed
    }
  }`;
  afterEach(() => rig.lab.balancer.nft('table inet other\ndelete table inet other'));

  test('is a single bit, and only on packets that need it for their route', async () => {
    await rig.lab.balancer.nft(marking);
    await apply(
      tableOf([
        ['10.50.0.1', 80],
        ['10.50.9.9', 80],
      ]),
    );
    await rig.fetchFrom('client', '10.50.0.1', 80);
    expect(await packetsOf('local')).toBeGreaterThan(0);
    expect(await packetsOf('routed')).toBe(0);
    await rig.fetchFrom('client', '10.50.9.9', 80);
    expect(await packetsOf('routed')).toBeGreaterThan(0);
  });

  test('does not make clients martians if the kernel looks up the source of marked packets by mark', async () => {
    const sysctl = 'net.ipv4.conf.all.src_valid_mark';
    await rig.lab.balancer.exec('sysctl', '-qw', `${sysctl}=1`);
    await apply(open);
    expect(await rig.fetchFrom('client', '10.50.0.1', 80)).toBe('10.50.0.1 80 from 10.10.0.2');
    await rig.lab.balancer.exec('sysctl', '-qw', `${sysctl}=0`);
  });

  async function packetsOf(counter: string): Promise<number> {
    const json = await rig.lab.balancer.exec('nft', '--json', 'list', 'counter', 'inet', 'other', counter);
    return Number(/"packets": (\d+)/.exec(json)?.[1]);
  }
});

async function apply(table: TrafficTable, added = ours): Promise<void> {
  await steering.apply(targetOf(table, added), signal);
}
