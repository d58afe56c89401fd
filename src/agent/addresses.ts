import type { Ip } from '../core/ip/ip.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Verdict } from '../core/reasons.ts';
import type { Listener, Listeners } from '../core/traffic/table.ts';
import type { Addresses } from '../ports/host.ts';
import type { HostAddresses } from '../ports/network.ts';

/**
 * The addresses that listeners need on the host, without the host's own. Counts the listeners of each address from call to
 * call, so that one changed listener of ten thousand costs no walk over the others.
 */
export function makeAddressIndex(): (listeners: Listeners) => Addresses {
  const counts = new Map<string, number>();
  let last: Listeners = PersistentMap.empty();
  let addresses: Addresses = PersistentMap.empty();
  return (listeners) => {
    const touched = new Map<string, Ip>();
    const count = (listener: Listener | undefined, by: 1 | -1): void => {
      if (listener === undefined || listener.isHostAddress) return;
      const { text } = listener.address;
      counts.set(text, (counts.get(text) ?? 0) + by);
      touched.set(text, listener.address);
    };
    for (const key of PersistentMap.changedKeys(last, listeners)) {
      count(last.get(key), -1);
      count(listeners.get(key), 1);
    }
    last = listeners;
    const changes = Array.from(touched, ([text, address]): [string, Ip | undefined] => {
      if ((counts.get(text) ?? 0) > 0) return [text, addresses.get(text) ?? address];
      counts.delete(text);
      return [text, undefined];
    });
    addresses = addresses.with(changes);
    return addresses;
  };
}

export const noAddresses: Addresses = PersistentMap.empty();

/** Those of `addresses` that the host has only through furiwake: it announces no other. */
export function withoutOwn(addresses: Addresses, { own }: Pick<HostAddresses, 'own'>): Addresses {
  return addresses.with(Array.from(own.keys(), (text) => [text, undefined]));
}

/** Those of either; the second map itself if it has all. */
export function unionOf(addresses: Addresses, others: Addresses): Addresses {
  return others.with(
    PersistentMap.changedKeys(addresses, others).flatMap((text) =>
      others.has(text) ? [] : [[text, addresses.get(text)] as const],
    ),
  );
}

/** Those of `addresses` that `others` have, too. */
export function commonOf(addresses: Addresses, others: Addresses): Addresses {
  return addresses.with(
    PersistentMap.changedKeys(addresses, others).flatMap((text) =>
      others.has(text) ? [] : [[text, undefined] as const],
    ),
  );
}

/**
 * Why packets for the listener's address cannot arrive here; `undefined`: they can. `lifetimeTrouble`: why the kernel has removed the
 * addresses that furiwake added.
 */
export function addressProblem(
  { address, isHostAddress }: Listener,
  { own, refused }: HostAddresses,
  lifetimeTrouble: string | undefined,
): Verdict | undefined {
  const absent = (message: string): Verdict => ({ reason: 'AddressNotOnHost', message });
  const { text } = address;
  if (isHostAddress) return own.has(text) ? undefined : absent(`${text} is no longer an address of this host`);
  const words = refused.get(text);
  if (words !== undefined) return absent(`the kernel refused the address ${text} (${words})`);
  return lifetimeTrouble === undefined ? undefined : absent(`${text} is not on this host: ${lifetimeTrouble}`);
}
