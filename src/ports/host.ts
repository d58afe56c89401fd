import type { Ip } from '../core/ip/ip.ts';
import type { ListeningSocket } from '../core/model/host.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { ListenerAddress } from '../core/traffic/table.ts';

/** Addresses by their text. */
export type Addresses = PersistentMap<string, Ip>;

/** The refused part of a change, with the tool's message on one line. The rest of the change is in force. */
export type Refusals<Key> = ReadonlyMap<Key, string>;

/** The end of a connection at a client. */
export type Client = { readonly address: Ip; readonly port: number };

/** The sockets and connections of this host. */
export type Host = {
  /** The sockets that other programs may reach: of TCP in state LISTEN, of UDP without a peer. */
  listening(signal: AbortSignal): Promise<readonly ListeningSocket[]>;
  /**
   * The clients of TCP connections that sockets of this host have at these listeners, unfinished handshakes included and
   * TIME-WAIT excluded. Without listeners that have none.
   */
  clientsOf(
    listeners: readonly ListenerAddress[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<ListenerKey, readonly Client[]>>;
  /** Resets the established TCP connections of these listeners (`ss -K`), all or those that `isMeant` selects. */
  endConnections<L extends ListenerAddress>(
    listeners: readonly L[],
    signal: AbortSignal,
    isMeant?: (listener: L, client: Client) => boolean,
  ): Promise<void>;
};
