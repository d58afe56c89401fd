import { expect, test, vi } from 'vitest';
import {
  apply,
  changes,
  direct,
  drained,
  endsOf,
  expectSame,
  lab,
  limits,
  newFlows,
  nodeOf,
  silentSince,
  verdicts,
  vips,
} from '../../../test/netns/direct-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { recordLog, recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import type { Exec } from '../../ports/exec.ts';
import { systemClock } from '../../main/node/clock.ts';
import { countElements } from '../nftables/count-elements.ts';
import { makePinWatch } from './table/pin-watch.ts';
import { directTable } from './table/ruleset.ts';

const { signal } = new AbortController();
const [vip] = vips;

async function dial(): Promise<number> {
  const { id = 0 } = await lab.client.ask({ do: 'dial', address: vip, port: 53 });
  await vi.waitUntil(async () => (await lab.client.ask({ do: 'heard', id })).text !== '', patience);
  return id;
}

/** Sends an ACK that belongs to no connection, from each of these ports of the client. */
const forgeAcks = (ports: readonly number[]): Promise<string> =>
  lab.client.exec(
    'perl',
    '-e',
    String.raw`socket(my $ip, 2, 3, 255) or die;                      # AF_INET, SOCK_RAW, IPPROTO_RAW
my ($from, $to) = map { pack("C4", split /\./) } splice(@ARGV, 0, 2);
send($ip, pack("CCnnnCCna4a4nnNNCCnnn", 0x45, 0, 40, 0, 0, 64, 6, 0, $from, $to, $_, 53, 1, 1, 0x50, 0x10, 1024, 0, 0),
  0, pack("Sna4x8", 2, 0, $to)) or die for @ARGV;`,
    '198.51.100.2',
    vip,
    ...ports.map(String),
  );

test.each([false, true])(
  'a connection is pinned for the configured time; after its end it is kept for some seconds, affinity: %s',
  async (isAffine) => {
    await apply({ isAffine });
    const id = await dial();
    await vi.waitUntil(async () => ((await endsOf('pins'))[0] ?? 0) > 7_200, patience);
    expect((await endsOf('pins'))[0]).toBeLessThanOrEqual(7_500);
    expect(await endsOf('closing')).toEqual([]);
    await lab.client.ask({ do: 'hangUp', id });
    // now it is in TIME_WAIT: the client has sent its last packet, the acknowledgement of the node's FIN
    await vi.waitUntil(async () => (await lab.client.exec('ss', '-Htn', 'dport = :53')) === '', patience);
    await vi.waitUntil(async () => (await endsOf('pins')).length === 0, patience);
    expect(await countElements(lab.balancer.execPort, directTable, ['closing'], signal)).toEqual({ closing: 1 });
  },
);

test('the packets of a connection that is ending go to another node when its node is gone', async () => {
  const nodeFrom = async (localPort?: number): Promise<string | undefined> =>
    (await lab.client.ask({ do: 'greet', address: vip, port: 53, timeoutMs: 3_000, localPort })).text?.trim();
  const former = (await nodeFrom(40_003)) ?? '';
  const inClosing = (): Promise<unknown> => countElements(lab.balancer.execPort, directTable, ['closing'], signal);
  await expect.poll(inClosing, patience).toEqual({ closing: 1 });
  verdicts.set(former, 'silent');
  silentSince.set(former, systemClock.monotonic() - 60_000);
  changes.tell();
  const gateways = (): Promise<string> => lab.balancer.exec('nft', 'list', 'map', 'netdev', 'furiwake', 'gateways4');
  const { ip4 = '' } = lab.nodes.find(({ name }) => name === former) ?? {};
  await expect.poll(gateways, patience).not.toContain(ip4);
  await forgeAcks([40_003]);
  await expect.poll(async () => (await endsOf('pins')).length, patience).toBe(1);
});

test('with affinity, a connection from the port of a former one goes to the node of its client', async () => {
  await apply({ isAffine: true });
  const nodeFrom = async (localPort?: number): Promise<string | undefined> =>
    (await lab.client.ask({ do: 'greet', address: vip, port: 53, timeoutMs: 3_000, localPort })).text?.trim();
  const former = (await nodeFrom()) ?? '';
  await forgeAcks([40_001]);
  await vi.waitUntil(async () => (await endsOf('pins')).length > 0, patience);
  verdicts.set(former, 'silent');
  silentSince.set(former, systemClock.monotonic());
  changes.tell();
  await vi.waitUntil(async () => ![undefined, former].includes(await nodeFrom()), patience);
  verdicts.delete(former);
  silentSince.delete(former);
  await apply();
  expect(await direct.audit(signal)).toBe(0);
  expect(await nodeFrom(40_001)).toBe(await nodeFrom());
});

test('a packet that belongs to no connection is pinned for a minute only', async () => {
  await forgeAcks([1_001, 1_002, 1_003]);
  await vi.waitUntil(async () => (await endsOf('pins')).length === 3, patience);
  for (const seconds of await endsOf('pins')) expect(seconds).toBeLessThanOrEqual(60);
});

test('a SYN ignores the pin of an earlier connection from its port', async () => {
  const ports = Array.from({ length: 20 }, (_, index) => 1_101 + index);
  await forgeAcks(ports);
  await vi.waitUntil(async () => (await endsOf('pins')).length === 20, patience);
  drained.add('n1');
  await apply();
  const connectFrom = String.raw`use Socket;
my $to = sockaddr_in(53, inet_aton(shift @ARGV));
for (@ARGV) {
  socket(my $s, PF_INET, SOCK_STREAM, 0) or die;
  bind($s, sockaddr_in($_, INADDR_ANY)) or die "bind: $!
";
  connect($s, $to) or die "connect: $!
";
  sysread($s, my $greeting, 2) or die;
  print "$greeting
";
}`;
  const greetings = await lab.client.exec('perl', '-e', connectFrom, vip, ...ports.map(String));
  expect(new Set(greetings.trim().split('\n'))).toEqual(new Set(['n2', 'n3']));
});

test('a datagram ignores the pin of a connection between the same ports', async () => {
  const ports = Array.from({ length: 20 }, (_, index) => 1_201 + index);
  await forgeAcks(ports);
  await vi.waitUntil(async () => (await endsOf('pins')).length === 20, patience);
  drained.add('n1');
  await apply();
  const found = new Set<string>();
  for (const port of ports) found.add(await nodeOf(vip, port));
  expect(found).toEqual(new Set(['n2', 'n3']));
});

test('pins stay while the table is restored, and what another program added to it goes', async () => {
  const { balancer } = lab;
  const flows = await newFlows(vip, 5);
  await expectSame(vip, flows);
  const pins = async (): Promise<number> =>
    (await countElements(balancer.execPort, directTable, ['pins'], signal)).pins;
  expect(await pins()).toBeGreaterThanOrEqual(5); // a late FIN of another test has one, too
  for (const change of ['flush map netdev furiwake slots', 'add rule netdev furiwake stack drop']) {
    await balancer.nft(change);
    await expect.poll(() => direct.audit(signal), patience).toBe(0);
    expect(await pins()).toBeGreaterThanOrEqual(5);
  }
  await balancer.nft('add chain netdev furiwake foreign');
  await expect
    .poll(async () => await balancer.exec('nft', 'list', 'chains', 'netdev'), patience)
    .not.toContain('foreign');
  await expectSame(vip, flows);
  expect(await direct.audit(signal)).toBe(0);
});

/** Watches the table while packets are sent, until something is said. */
async function reportOn(
  send: () => Promise<void>,
): Promise<{ readonly messages: readonly string[]; readonly unpinned: number }> {
  const [clock, log, metrics] = [virtualClock(), recordLog(), recordMetrics()];
  const stop = new AbortController();
  const { execPort } = lab.balancer;
  let readings = 0;
  const exec: Exec = {
    ...execPort,
    run: async (...args) => {
      const answer = await execPort.run(...args);
      readings++;
      return answer;
    },
  };
  const watching = makePinWatch({ exec, clock, log, metrics, isInPlace: () => true })(stop.signal).catch(
    () => undefined,
  );
  await vi.waitUntil(() => readings === 2, patience); // pins, and what had no room
  await send();
  await clock.advance(30_000);
  await vi.waitUntil(() => log.lines.length > 0, patience);
  stop.abort();
  await watching;
  return {
    messages: log.lines.map(({ message }) => message),
    unpinned: metrics.total('furiwake_direct_unpinned_packets_total'),
  };
}

const isFull = ['keeping the flows of direct at their nodes failed; retrying'];

test('counts the pins, and reports a map that is full; its flows are sent all the same', async () => {
  limits.pins = 10;
  await direct.remove(signal);
  await apply();
  const report = await reportOn(async () => {
    const flows = await newFlows(vip, 15);
    await expectSame(vip, flows);
    await expectSame(vip, flows);
  });
  expect(report).toEqual({ messages: isFull, unpinned: 10 });
  expect(await countElements(lab.balancer.execPort, directTable, ['pins', 'clients'], signal)).toEqual({
    pins: 10,
    clients: 0,
  });
  expect(await direct.audit(signal)).toBe(0);
});

test('reports that no further flow can be noted; those flows are sent all the same', async () => {
  limits.seen = 10;
  await direct.remove(signal);
  await apply();
  const report = await reportOn(async () => {
    for (const node of (await newFlows(vip, 15)).values()) expect(node).toMatch(/^n/);
  });
  expect(report).toEqual({ messages: isFull, unpinned: 5 });
  expect(await direct.audit(signal)).toBe(0);
});

test('forged packets fill the pins for hours, by two for each flow: flows that have a pin keep it, others are sent by their hash', async () => {
  limits.pins = 20;
  await direct.remove(signal);
  await apply();
  const held = await newFlows(vip, 5);
  await expectSame(vip, held);
  const forged = Array.from({ length: 40 }, (_, index) => 1_001 + index);
  for (let turn = 0; turn < 2; turn++) await forgeAcks(forged);
  await vi.waitUntil(async () => (await endsOf('pins')).filter((seconds) => seconds > 60).length === 20, patience);
  const later = await newFlows(vip, 5);
  await expectSame(vip, later);
  drained.add('n1');
  await apply();
  await expectSame(vip, held);
  for (const node of (await newFlows(vip, 5)).values()) expect(node).toMatch(/^n[23]$/);
});

test.each([false, true])(
  'after a change of hands, pins that are full cost no new connection, affinity: %s',
  async (isAffine) => {
    limits.pins = 20;
    await direct.remove(signal);
    await apply({ isAffine });
    const forged = Array.from({ length: 40 }, (_, index) => 1_001 + index);
    for (let turn = 0; turn < 2; turn++) await forgeAcks(forged);
    await vi.waitUntil(async () => (await endsOf('pins')).length === 20, patience);
    await apply({ uid: `second ${isAffine}` });
    const ids = [await dial(), await dial()];
    for (const id of ids) {
      await lab.client.ask({ do: 'say', id, text: 'hello ' });
      await expect
        .poll(async () => (await lab.client.ask({ do: 'heard', id })).text, patience)
        .toMatch(/^n\d .*hello $/);
    }
    await apply({ isAffine: false });
  },
);
