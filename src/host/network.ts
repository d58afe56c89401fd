import { keepWatching } from '../async/keep-watching.ts';
import { makeSerial, type Serial } from '../async/serial.ts';
import { valueWithin } from '../async/settles-within.ts';
import type { Ip } from '../core/ip/ip.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { usualCallMs } from '../ports/call-times.ts';
import type { Clock } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import type { HostAddresses, HostNetwork } from '../ports/network.ts';
import { linkFinder, readInterfaces } from './interfaces.ts';
import { watchNetwork } from './kernel-events.ts';
import { makeLinks, type ReportedLinks } from './links.ts';
import { makeNewsFilter } from './news.ts';
import type { PlacementRecord, PlacementRecordFile } from '../ports/placement.ts';
import { type NetworkView, readResolvConfs, settled, viewOf } from './view.ts';

/** The state of the host; `record`: the interfaces of furiwake's addresses, now or soon. */
export type NetworkState = NetworkView & { readonly record: PlacementRecord };

/** The memory that the reader and placement share: placement alone changes the host. */
export type NetworkMemory = {
  /** One reading or change at a time: each depends on the state after the one before. */
  readonly inTurn: Serial;
  readonly state: () => NetworkState;
  /** Reads the host. */
  readonly read: (signal: AbortSignal) => Promise<void>;
  /** Reads the host if it must be read before the state is used: at first, and after a failed change. Whether it has. */
  readonly ensureRead: (signal: AbortSignal) => Promise<boolean>;
  /** Whether the host may differ from the state in what the kernel does not report: after a failed change, or other DNS servers. */
  readonly isDoubtful: (signal: AbortSignal) => Promise<boolean>;
  /** Writes the record to the disk, unless it is there. */
  readonly write: (record: PlacementRecord) => Promise<void>;
  /**
   * A change of the host begins: its events are furiwake's own if they agree with `record`. Unless `settle` follows, the
   * host is read before the next change.
   */
  readonly begin: (record: PlacementRecord) => void;
  /** The change is done: `next` is the new state of the host, `refused` the addresses that the kernel refused. */
  readonly settle: (next: NetworkState, refused: HostAddresses['refused']) => void;
};

export type Network = HostNetwork & { readonly links: ReportedLinks; readonly memory: NetworkMemory };

const nothing: NetworkState = {
  interfaces: [],
  own: new Map(),
  primary: [],
  needs: new Map(),
  routed: [],
  resolvConfs: '',
  present: PersistentMap.empty(),
  record: PersistentMap.empty(),
};

/** Reads and watches the network of this host. `record`: the addresses that furiwake added, which are not the host's own. */
export function makeNetwork(deps: {
  readonly exec: Exec;
  readonly files: Pick<Files, 'read'>;
  readonly record: PlacementRecordFile;
  readonly clock: Clock;
  readonly log: Log;
}): Network {
  const { exec, clock, log } = deps;
  const inTurn = makeSerial();
  let state = nothing;
  let isStale = true;
  let isBeingRead = false;
  /** The record as it is on the disk; `undefined`: not read yet. */
  let recorded: PlacementRecord | undefined;
  let known: HostAddresses = { own: new Map(), primary: [], needs: new Map(), routed: [], refused: new Map() };
  /** Of each family, also while the default route is gone. */
  let lastPrimary: readonly Ip[] = [];
  const links = makeLinks(() => state);

  const settle = (next: NetworkState, refused: HostAddresses['refused']): void => {
    state = next;
    isStale = false;
    const { own, primary, needs, routed } = next;
    known = settled(known, { own, primary, needs, routed, refused });
  };

  /** While a disk hangs they count as they were: the lifetimes of the addresses do not wait for it. */
  const resolvConfsNow = (signal: AbortSignal): Promise<string> =>
    valueWithin(readResolvConfs(deps.files), state.resolvConfs, usualCallMs, clock, signal);

  const read = async (signal: AbortSignal): Promise<void> => {
    if (recorded === undefined) {
      recorded = await deps.record.read();
      state = { ...state, record: recorded };
    }
    const { record } = state;
    isBeingRead = true;
    try {
      const resolvConfs = await resolvConfsNow(signal);
      const view = await viewOf(await readInterfaces(exec, signal), record, lastPrimary, { exec, resolvConfs }, signal);
      const isOther = ({ family }: Ip): boolean => view.primary.every((found) => found.family !== family);
      lastPrimary = [...view.primary, ...lastPrimary.filter(isOther)];
      settle({ ...view, record: record.with(view.present) }, known.refused);
    } finally {
      isBeingRead = false;
    }
  };

  return {
    addresses: () => known,
    hasCarrier: (address) => linkFinder(state.interfaces)(address)?.isRunning,
    refresh: (signal) =>
      inTurn(async () => {
        await read(signal);
        return known;
      }),
    watch: async (onChange, signal) => {
      const newsOf = makeNewsFilter(() => ({ ...state, isBeingRead }));
      await keepWatching({
        what: 'watching network interfaces',
        watch: () => watchNetwork(exec, signal),
        react: (event) => {
          if (event.kind === 'forwarding' || event.kind === 'unsure') links.noteForwarding();
          const news = newsOf(event);
          if (news === undefined) return;
          links.noteUp(news.linksUp);
          onChange();
        },
        clock,
        log,
        signal,
      });
    },
    links,
    memory: {
      inTurn,
      state: () => state,
      read,
      isDoubtful: async (signal) => isStale || (await resolvConfsNow(signal)) !== state.resolvConfs,
      ensureRead: async (signal) => {
        if (!isStale) return false;
        await read(signal);
        return true;
      },
      write: async (record) => {
        if (record === recorded) return;
        await deps.record.write(record);
        recorded = record;
      },
      begin: (record) => {
        state = { ...state, record };
        isStale = true;
      },
      settle,
    },
  };
}
