import { expect, vi } from 'vitest';
import { hearAnnouncements } from '../../src/advertise/announcements.ts';
import { makeDefence } from '../../src/advertise/defence.ts';
import type { DuplicateProbe } from '../../src/ports/advertiser.ts';
import { makeDuplicateProbe, makeDuplicateWatch } from '../../src/advertise/duplicates.ts';
import { makeFrameSender } from '../../src/advertise/frame-sender.ts';
import { makeL2Advertiser } from '../../src/advertise/l2.ts';
import { makeNetwork, type Network } from '../../src/host/network.ts';
import { makePlacement } from '../../src/host/placement.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { systemFiles } from '../../src/main/node/files.ts';
import type { Addresses } from '../../src/ports/host.ts';
import type { AddressExpiry } from '../../src/ports/address-expiry.ts';
import type { Placement } from '../../src/ports/placement.ts';
import { makePlacementRecord } from '../../src/state/placement-record.ts';
import { silent } from '../make/log.ts';
import { addressesOf } from '../make/table.ts';
import { type NetLab, startNetLab } from './net-lab.ts';
import { patience } from './patience.ts';

/*
 * The client is on the load balancer's link: 10.10.0.0/24 and fd10::/64. 10.50.0.0/16 and fd50::/64 are on no link, but
 * routed.
 */
export const linkAddresses: Addresses = addressesOf('10.10.0.50', 'fd10::50');
export const routedAddresses: Addresses = addressesOf('10.50.0.1', 'fd50::1');
export const allAddresses: Addresses = linkAddresses.with(routedAddresses);
export const none: Addresses = addressesOf();

/** A lab whose load balancer gets addresses. */
export type PlacementRig = AsyncDisposable & {
  readonly lab: NetLab;
  readonly network: Network;
  readonly placement: Placement & AddressExpiry;
  /** Adds the addresses to the host and advertises them. */
  add(wanted: Addresses): Promise<void>;
  /** Audits; the advertiser announces restored addresses. */
  audit(wanted: Addresses): Promise<number>;
  readonly probe: DuplicateProbe;
  /** The record on the disk; `undefined`: none. */
  record(): Promise<string | undefined>;
  /** The fields of the warnings. */
  readonly warnings: readonly unknown[];
  /** Another process on the same host. */
  makeNew(): { readonly network: Network; readonly placement: Placement & AddressExpiry };
  /** Expects that the client can ping it, within three attempts. */
  answersPing(address: string): Promise<void>;
  /** Interface, address and scope of every routable address of the load balancer, sorted. */
  places(): Promise<readonly string[]>;
  macOf(device: string): Promise<string>;
  /** The client's neighbour entry for an address. */
  neighbour(address: string): Promise<string | undefined>;
  /** Sets a wrong neighbour entry for an address on the client. */
  pretendElsewhere(address: string): Promise<void>;
  /** ARP requests and neighbour advertisements that the client receives from now on, until the test ends. */
  startCapture(): Promise<readonly string[]>;
};

export async function startPlacementRig(): Promise<PlacementRig> {
  const lab = await startNetLab({ nodes: 0 });
  const lifetime = new AbortController();
  const warnings: unknown[] = [];
  const log = { ...silent, warn: (fields: object) => void warnings.push(fields) };
  const path = `${lab.folder}/placement.jsonl`;
  const exec = lab.balancer.execPort;
  const makeNew: PlacementRig['makeNew'] = () => {
    const network = makeNetwork({
      exec,
      files: systemFiles,
      record: makePlacementRecord({ path, earlierPath: `${lab.folder}/addresses.json`, files: systemFiles, log }),
      clock: systemClock,
      log,
    });
    return {
      network,
      placement: makePlacement({ exec, network, clock: systemClock, log, lifetime: lifetime.signal }),
    };
  };
  const { network, placement } = makeNew();
  const { links } = network;
  const sender = makeFrameSender({ exec, clock: systemClock, log, lifetime: lifetime.signal });
  const probe = makeDuplicateProbe({ exec, clock: systemClock, links });
  const duplicates = makeDuplicateWatch({ probe, clock: systemClock, log });
  const hear = (signal: AbortSignal) => hearAnnouncements(exec, signal);
  const defence = makeDefence({ hear, links, clock: systemClock, log });
  const advertiser = makeL2Advertiser({ sender, duplicates, defence, links, clock: systemClock });
  void advertiser.run(lifetime.signal).catch(() => undefined); // it ends with the test
  return {
    lab,
    network,
    placement,
    add: async (wanted) => {
      await placement.add(wanted, lifetime.signal);
      advertiser.advertise(wanted);
    },
    audit: async (wanted) => (await placement.audit(wanted, lifetime.signal)).length,
    probe,
    record: () => systemFiles.read(path),
    warnings,
    makeNew,
    answersPing: async (address) => {
      expect(await lab.client.exec('ping', '-c3', '-i0.2', '-W3', address)).toMatch(/ [123] received/);
    },
    places: async () => {
      const interfaces = JSON.parse(await lab.balancer.exec('ip', '-json', 'address')) as {
        ifname: string;
        addr_info: { local: string; prefixlen: number; scope: string }[];
      }[];
      return interfaces
        .flatMap(({ ifname, addr_info }) =>
          addr_info.map(({ local, prefixlen, scope }) => `${ifname} ${local}/${prefixlen} ${scope}`),
        )
        .filter((place) => !/ (?:127\.|::1|fe80:)/.test(place))
        .toSorted();
    },
    macOf: async (device) => {
      const [link] = JSON.parse(await lab.balancer.exec('ip', '-json', 'link', 'show', 'dev', device)) as {
        address: string;
      }[];
      return link?.address ?? '';
    },
    neighbour: async (address) => {
      const entries = JSON.parse(await lab.client.exec('ip', '-json', 'neighbour', 'show', 'to', address)) as {
        lladdr?: string;
      }[];
      return entries[0]?.lladdr;
    },
    pretendElsewhere: async (address) => {
      const entry = [address, 'lladdr', '02:00:00:00:00:99', 'dev', 'eth0', 'nud', 'reachable'];
      await lab.client.exec('ip', 'neighbour', 'replace', ...entry);
    },
    startCapture: async () => {
      const filter = 'arp or (icmp6 and ip6[40] = 136)';
      const tcpdump = lab.client.execPort.spawn('tcpdump', ['-i', 'eth0', '-elntv', filter], lifetime.signal);
      await vi.waitUntil(async () => (await tcpdump.takeErrors()).includes('listening on'), patience);
      const lines: string[] = [];
      void (async () => {
        for await (const line of tcpdump.lines) lines.push(line);
      })().catch(() => undefined); // it ends with the test
      return lines;
    },
    [Symbol.asyncDispose]: async () => {
      lifetime.abort();
      await lab[Symbol.asyncDispose]();
    },
  };
}
