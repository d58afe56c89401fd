import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, vi } from 'vitest';
import { parseRange } from '../../src/core/ip/range.ts';
import type { TrafficTable } from '../../src/core/traffic/table.ts';
import { makeSteering } from '../../src/dataplane/nftables/steering.ts';
import { makeHost } from '../../src/host/host.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import type { Exec } from '../../src/ports/exec.ts';
import type { Addresses } from '../../src/ports/host.ts';
import type { Steering, SteeringTarget } from '../../src/ports/steering.ts';
import { silent } from '../make/log.ts';
import * as make from '../make/table.ts';
import { addressesOf, listener } from '../make/table.ts';
import { recordMetrics } from '../sim/observers.ts';
import { type NetLab, setUp, startNetLab } from './net-lab.ts';
import { patience } from './patience.ts';

/** The port of the rig's HAProxy. */
export const proxyPort = 10_000;

/** The added addresses: the load balancer has them. Others of 10.50.0.0/16 are only routed to it. */
export const ours: Addresses = addressesOf('10.50.0.1', '10.50.0.2', 'fd50::1');

/**
 * A lab whose load balancer runs a HAProxy that answers with the destination of the connection (`DST PORT from SRC`),
 * and on port 22 of all addresses one that answers `sshd`.
 */
export type SteeringRig = AsyncDisposable & {
  readonly lab: NetLab;
  /** Another furiwake on the same host; its programs are started by `exec`, and end with `lifetime`. */
  makeNew(lifetime: AbortSignal, exec?: Exec): Steering;
  /** The input of all of them to nft since `reset`. */
  sentAs(kind: 'change' | 'replace'): number;
  /** The number of their repairs since `reset`. */
  repaired(): number;
  reset(): void;
  /** The answer's text, or the code of the error. */
  fetchFrom(machine: 'client' | 'balancer', address: string, port: number, timeoutMs?: number): Promise<string>;
};

export async function startSteeringRig({
  nodes = 0,
  isBridged = false,
}: {
  readonly nodes?: number;
  /** The client is behind a port of a bridge, whose packets br_netfilter passes through the hooks of IP. */
  readonly isBridged?: boolean;
} = {}): Promise<SteeringRig> {
  const lab = await startNetLab({ nodes });
  const { balancer, folder } = lab;
  if (isBridged)
    await balancer.ip(
      'address flush dev wan',
      'link add br0 type bridge',
      ...setUp('br0', '10.10.0.1/24', 'fd10::1/64'),
      'link set wan master br0',
    );
  const file = path.join(folder, 'echo.cfg');
  await writeFile(file, echo);
  balancer.execPort.spawn('haproxy', ['-db', '-f', file], new AbortController().signal); // ends with the lab
  await balancer.exec('ip', 'link', 'add', 'vips', 'type', 'bridge');
  await balancer.exec('ip', 'link', 'set', 'vips', 'up');
  for (const { text, family } of ours.values())
    await balancer.exec('ip', 'address', 'add', text, 'dev', 'vips', ...(family === 6 ? ['nodad'] : []));

  let metrics = recordMetrics();
  const fetchFrom: SteeringRig['fetchFrom'] = async (machine, address, port, timeoutMs = 30_000) => {
    const { text, error } = await lab[machine].ask({ do: 'fetch', address, port, timeoutMs });
    return text ?? error ?? '';
  };
  await vi.waitUntil(async () => (await fetchFrom('client', '10.10.0.1', 22)) === 'sshd', patience);
  return {
    lab,
    makeNew: (lifetime, exec = balancer.execPort) =>
      makeSteering({
        host: makeHost({ exec, log: silent }),
        isBridgeFiltered: async () => isBridged,
        exec,
        clock: systemClock,
        log: silent,
        metrics,
        lifetime,
      }),
    sentAs: (kind) => metrics.total('furiwake_nftables_transactions_total', { kind }),
    repaired: () => metrics.total('furiwake_nftables_repairs_total'),
    reset: () => {
      metrics = recordMetrics();
    },
    fetchFrom,
    [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
  };
}

/** A rig for the tests of a file; each test gets a new steering, removed after it, and counters that start at 0. */
export function useSteering(
  options: Parameters<typeof startSteeringRig>[0],
  begin: (scene: {
    readonly rig: SteeringRig;
    readonly steering: Steering;
    /** Ends the programs of the steering. */
    readonly lifetime: AbortController;
  }) => void,
): void {
  let rig: SteeringRig;
  let steering: Steering;
  let lifetime: AbortController;
  beforeAll(async () => {
    rig = await startSteeringRig(options);
  });
  afterAll(() => rig[Symbol.asyncDispose]());
  beforeEach(() => {
    lifetime = new AbortController();
    rig.reset();
    steering = rig.makeNew(lifetime.signal);
    begin({ rig, steering, lifetime });
  });
  afterEach(async () => {
    await steering.remove(new AbortController().signal);
    lifetime.abort();
  });
}

/** The configuration of a HAProxy that answers as `SteeringRig` says. */
export const echo: string = `
defaults
    mode http
    timeout client 60s
    timeout connect 1s
    timeout server 60s
frontend proxy
    bind 127.0.0.1:${proxyPort} transparent
    bind ::1:${proxyPort} transparent v6only
    http-request return status 200 content-type text/plain lf-string "%[dst] %[dst_port] from %[src]"
frontend sshd
    bind 0.0.0.0:22
    bind :::22 v6only
    http-request return status 200 content-type text/plain string "sshd"
`;

/** Address, port, and the source ranges if it is restricted. */
export type Listening = readonly [address: string, port: number, ranges?: readonly string[] | undefined];

export function tableOf(listeners: readonly Listening[]): TrafficTable {
  return make.tableOf(
    listeners.map(([address, port, ranges]) =>
      listener(address, port, 30_000, { sourceRanges: ranges?.flatMap((range) => parseRange(range) ?? []) }),
    ),
  );
}

/** The desired contents of the kernel for this table. */
export function targetOf(
  { listeners }: Pick<TrafficTable, 'listeners'>,
  vips: Addresses = addressesOf(),
  port: number = proxyPort,
  own: SteeringTarget['own'] = new Map(),
): SteeringTarget {
  return { listeners, serverless: new Set(), vips, own, portOf: () => port };
}
