import { describe, expect, test } from 'vitest';
import { execOf } from '../../../test/make/exec.ts';
import { filesOf } from '../../../test/sim/harness.ts';
import { systemClock } from '../../main/node/clock.ts';
import { ExecError } from '../../ports/exec.ts';
import { checkConntrack, checkNat, checkTproxy } from './nftables.ts';
import { checkSocketKiller } from './socket-killer.ts';
import { checkSysctls } from './sysctls.ts';

const { signal } = new AbortController();

describe('TPROXY', () => {
  test('passes if nft accepts the trial', async () => {
    const exec = execOf((command, { stdin }) => {
      expect([command, stdin]).toEqual(['nft --check -f -', expect.stringContaining('tproxy ip to')]);
      return '';
    });
    expect(await checkTproxy(exec, signal)).toMatchObject({ mark: 'ok' });
  });

  test('is a problem where it refuses it, with the first of its words', async () => {
    const exec = execOf(() => {
      throw new ExecError('nft', 1, '/dev/stdin:6:5-20: Error: Could not process rule: No such file\n  tproxy\n');
    });
    expect(await checkTproxy(exec, signal)).toMatchObject({
      mark: 'problem',
      found: '/dev/stdin:6:5-20: Error: Could not process rule: No such file',
    });
  });
});

test('a kernel without NAT is a warning: only UDP and SCTP need it', async () => {
  const exec = execOf((command, { stdin }) => {
    expect([command, stdin]).toEqual(['nft --check -f -', expect.stringContaining('masquerade')]);
    throw new ExecError('nft', 1, 'Error: Could not process rule: No such file\n');
  });
  expect(await checkNat(exec, signal)).toMatchObject({ mark: 'warning' });
  expect(
    await checkNat(
      execOf(() => ''),
      signal,
    ),
  ).toMatchObject({ mark: 'ok' });
});

test('a kernel whose conntrack cannot be asked is a warning, with what to load', async () => {
  const exec = execOf(() => {
    throw new ExecError('perl', 1, 'conntrack: Invalid argument\n');
  });
  expect(await checkConntrack(exec, signal)).toMatchObject({
    mark: 'warning',
    found: 'conntrack: Invalid argument',
    advice: expect.stringContaining('modprobe nf_conntrack_netlink'),
  });
  const well = execOf(() => '');
  expect(await checkConntrack(well, signal)).toMatchObject({ mark: 'ok' });
});

describe('ss -K', () => {
  test('that fails is a warning', async () => {
    const exec = execOf(() => {
      throw new ExecError('ss -K', 255, 'RTNETLINK answers: Operation not supported');
    });
    expect(await checkSocketKiller(exec, systemClock, signal)).toMatchObject({
      mark: 'warning',
      found: expect.stringContaining('Operation not supported'),
    });
  });

  test('that ends no flow is a warning, too', async () => {
    const patience = new AbortController();
    const exec = execOf(() => {
      patience.abort();
      return '';
    });
    const clock = { ...systemClock, deadline: () => ({ signal: patience.signal, [Symbol.dispose]: () => undefined }) };
    expect(await checkSocketKiller(exec, clock, signal)).toMatchObject({
      mark: 'warning',
      found: 'cannot end a connection',
    });
  });
});

describe('kernel settings', () => {
  const settings = async (values: Readonly<Record<string, string>>, links = ['lo', 'eth0', 'eth1']) => {
    const texts = Object.entries(values).map(([name, value]) => [`/proc/sys/net/ipv4/${name}`, `${value}\n`] as const);
    const exec = execOf(() => JSON.stringify(links.map((ifname) => ({ ifname }))));
    const findings = await checkSysctls(filesOf(new Map(texts)), exec, signal);
    return Object.fromEntries(findings.map(({ what, mark, found }) => [what, `${mark}: ${found}`]));
  };

  test.each([
    [{}, 'ok: not strict'],
    [{ 'conf/all/rp_filter': '2', 'conf/eth0/rp_filter': '1' }, 'ok: not strict'],
    [{ 'conf/eth1/rp_filter': '1' }, 'warning: strict on eth1'],
    [{ 'conf/all/rp_filter': '1' }, 'warning: strict on eth0, eth1'],
  ])('rp_filter of %j', async (values, found) => {
    expect(await settings(values)).toMatchObject({ rp_filter: found });
  });

  test('a strict rp_filter does no harm on the only link', async () => {
    expect(await settings({ 'conf/all/rp_filter': '1' }, ['lo', 'eth0'])).toMatchObject({
      rp_filter: 'ok: strict on eth0, the only link',
    });
  });

  test.each([
    [{}, 'ok: the host answers ARP for added addresses'],
    [{ 'conf/eth0/arp_ignore': '1' }, 'warning: set on eth0'],
    [{ 'conf/all/arp_ignore': '2' }, 'warning: set on eth0, eth1'],
  ])('arp_ignore of %j', async (values, found) => {
    expect(await settings(values)).toMatchObject({ arp_ignore: found });
  });

  test.each([
    [{}, undefined],
    [{ ip_unprivileged_port_start: '293' }, undefined],
    [{ ip_unprivileged_port_start: '292' }, 'warning: 292'],
    [{ ip_unprivileged_port_start: '0' }, 'warning: 0'],
  ])('whether any user can take the port of HAProxy: %j', async (values, found) => {
    expect((await settings(values))['ip_unprivileged_port_start']).toBe(found);
  });

  test.each([
    ['0', 'rw', /^ok: off \(switched on/],
    ['1', 'ro', /^ok: on$/],
    ['0', 'ro', /^warning: off, and \/proc\/sys is read-only$/],
  ])('ip_forward of %s where /proc/sys is %s', async (value, mode, found) => {
    const mounts = `97 75 0:22 / /proc rw,nosuid - proc proc rw\n98 97 0:22 /sys /proc/sys ${mode},nosuid,relatime - proc proc rw\n`;
    const files = filesOf(
      new Map([
        ['/proc/sys/net/ipv4/ip_forward', `${value}\n`],
        ['/proc/self/mountinfo', mounts],
      ]),
    );
    const findings = await checkSysctls(
      files,
      execOf(() => '[]'),
      signal,
    );
    const { mark, found: words } = findings.find(({ what }) => what === 'ip_forward')!;
    expect(`${mark}: ${words}`).toMatch(found);
  });

  test.each([
    ['0', 'warning: off'],
    ['1', 'ok: on'],
    ['2', 'ok: on'],
  ])('tcp_syncookies of %s', async (value, found) => {
    expect(await settings({ tcp_syncookies: value })).toMatchObject({ tcp_syncookies: found });
  });

  test.each([
    ['br0', '1', '0', ['warning: br_netfilter filters the packets of br0']],
    ['br0', '0', '1', ['warning: br_netfilter filters the packets of br0']],
    ['br0', '0', '0', []],
    ['br0', undefined, '0', []],
    ['eth0', '1', '1', []],
  ])(
    'of a host with its default route on %s, bridge-nf-call-iptables of %s, and %s of the bridge',
    async (dev, all, own, found) => {
      const texts = [
        ['/sys/class/net/br0/bridge/nf_call_iptables', `${own}\n`],
        ...(all === undefined ? [] : [['/proc/sys/net/bridge/bridge-nf-call-iptables', `${all}\n`] as const]),
      ] as const;
      const exec = execOf((command) => JSON.stringify([command.includes('route') ? { dev } : { ifname: dev }]));
      const findings = await checkSysctls(filesOf(new Map(texts)), exec, signal);
      const bridges = findings.filter(({ what }) => what === 'bridges');
      expect(bridges.map((each) => `${each.mark}: ${each.found}`)).toEqual(found);
    },
  );
});
