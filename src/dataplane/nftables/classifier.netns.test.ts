import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test, vi } from 'vitest';
import { type Ip, parseIp } from '../../core/ip/ip.ts';
import { parseRange } from '../../core/ip/range.ts';
import { serviceKey } from '../../core/model/names.ts';
import { emptyTable, listenerKey, type Row, type TrafficTable } from '../../core/traffic/table.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Classifier } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { type NetLab, startNetLab } from '../../../test/netns/net-lab.ts';
import { makeClassifier } from './classifier.ts';

/*
 * The real kernel, the real nft, a real HAProxy that answers with what it was asked for. VIPs are 10.50.0.0/16 and
 * fd50::/64, routed to the balancer, which has some of them as addresses.
 */
const proxyPort = 10_000;
const echo = `
defaults
    mode http
    timeout client 5s
    timeout connect 1s
    timeout server 5s
frontend proxy
    bind 127.0.0.1:${proxyPort} transparent
    bind ::1:${proxyPort} transparent v6only
    http-request return status 200 content-type text/plain lf-string "%[dst] %[dst_port] from %[src]"
frontend sshd
    bind 0.0.0.0:22
    bind :::22 v6only
    http-request return status 200 content-type text/plain string "sshd"
`;

const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};
const noMetrics: Metrics = {
  counter: () => ({ add: () => undefined }),
  gauge: () => ({ set: () => undefined, remove: () => undefined }),
  histogram: () => ({ observe: () => undefined }),
};

let lab: NetLab;
let classifier: Classifier;
let lifetime: AbortController;
const { signal } = new AbortController();

beforeAll(async () => {
  lab = await startNetLab({ nodes: 0 });
  const { balancer, folder } = lab;
  const file = path.join(folder, 'echo.cfg');
  await writeFile(file, echo);
  balancer.execPort.converse('haproxy', ['-db', '-f', file], signal);
  await balancer.exec('ip', 'link', 'add', 'vips', 'type', 'bridge');
  await balancer.exec('ip', 'link', 'set', 'vips', 'up');
  for (const address of ['10.50.0.1/32', '10.50.0.2/32', 'fd50::1/128'])
    await balancer.exec('ip', 'address', 'add', address, 'dev', 'vips', ...(address.includes(':') ? ['nodad'] : []));
  await vi.waitUntil(async () => (await fetchFrom('client', '10.10.0.1', 22)) === 'sshd');
});
afterAll(() => lab[Symbol.asyncDispose]());

beforeEach(() => {
  lifetime = new AbortController();
  classifier = makeClassifier({
    exec: lab.balancer.execPort,
    clock: systemClock,
    log: silent,
    metrics: noMetrics,
    lifetime: lifetime.signal,
  });
});
afterEach(async () => {
  await classifier.remove(signal);
  lifetime.abort();
});

const open = tableOf([
  ['10.50.0.1', 80],
  ['fd50::1', 80],
  ['10.10.0.1', 8080],
]);
const ours = ips('10.50.0.1', '10.50.0.2', 'fd50::1');

describe('a connection from a client', () => {
  beforeEach(() => apply(open));

  test.each([
    [
      'to a listener reaches HAProxy with the address and port that the client dialled',
      '10.50.0.1',
      80,
      '10.50.0.1 80 from 10.10.0.2',
    ],
    ['to a listener over IPv6 does too', 'fd50::1', 80, 'fd50::1 80 from fd10::2'],
    ['to a listener on an address of the host itself does too', '10.10.0.1', 8080, '10.10.0.1 8080 from 10.10.0.2'],
    [
      'to another port of an address of ours is refused, though a daemon is bound to all addresses',
      '10.50.0.1',
      22,
      'ECONNREFUSED',
    ],
    ['to another port of an IPv6 address of ours is refused', 'fd50::1', 22, 'ECONNREFUSED'],
    ['to an address of ours without a listener is refused', '10.50.0.2', 80, 'ECONNREFUSED'],
    ['to the own address of the host reaches the daemon there', '10.10.0.1', 22, 'sshd'],
    [
      'to a listener whose address the host does not have is routed there by the mark',
      '10.50.9.9',
      80,
      '10.50.9.9 80 from 10.10.0.2',
    ],
  ])('%s', async (_, address, port, answer) => {
    if (address === '10.50.9.9') await apply(tableOf([[address, port]]));
    expect(await fetchFrom('client', address, port)).toBe(answer);
  });
});

async function apply(table: TrafficTable, added: readonly Ip[] = ours): Promise<void> {
  await classifier.apply(table, added, () => proxyPort, signal);
}

/** The answer's text, or the code of the error. */
async function fetchFrom(machine: 'client' | 'balancer', address: string, port: number): Promise<string> {
  const { text, error } = await lab[machine].ask({ do: 'fetch', address, port });
  return text ?? error ?? '';
}

type Listening = readonly [address: string, port: number, ranges?: readonly string[]];

function tableOf(listeners: readonly Listening[]): TrafficTable {
  const rows = listeners.map(([text, port, ranges]): Row => {
    const address = ip(text);
    return {
      key: listenerKey(address, port, 'TCP'),
      address,
      protocol: 'TCP',
      port,
      service: serviceKey('default', 'web'),
      backend: { kind: 'nodes', family: address.family, nodePort: 30_000 },
      sourceRanges: ranges?.flatMap((range) => parseRange(range) ?? []),
      maxConnections: undefined,
    };
  });
  return { ...emptyTable, rows: new Map(rows.map((row) => [row.key, row])) };
}

function ip(text: string): Ip {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

function ips(...texts: readonly string[]): readonly Ip[] {
  return texts.map(ip);
}
