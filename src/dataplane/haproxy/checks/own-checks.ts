import { makeSubscribers } from '../../../async/subscribers.ts';
import type { ListenerKey } from '../../../core/model/names.ts';
import { isSameSet } from '../../../core/persistent-map.ts';
import type { Proxy } from '../../../ports/proxy.ts';
import { parseStat } from '../runtime/answers.ts';
import type { RuntimeApi } from '../runtime/client.ts';
import type { Desired } from '../config/desired.ts';
import { backendOfEntry } from '../config/entries.ts';
import type { SpareName } from '../config/pools.ts';
import { followedBy } from '../config/spare-servers.ts';
import type { Spares } from '../config/spares.ts';

/** The listeners without a server that takes connections, among those whose servers have checks of their own. */
export type OwnChecks = Pick<Proxy, 'failing'> & {
  subscribe(listener: () => void): () => void;
  /** Asks HAProxy about the next backends with such servers. Throws `RuntimeError`. */
  look(desired: Desired, signal: AbortSignal): Promise<void>;
};

/** 2.5 ms of HAProxy for each look; of 500 backends, all are known after ten seconds. */
const mostBackends = 50;

export function makeOwnChecks({ api }: { readonly api: RuntimeApi }): OwnChecks {
  const subscribers = makeSubscribers();
  let spares: Spares['servers'] | undefined;
  let entries: Desired['entries'] | undefined;
  /** Those with servers that have checks of their own. */
  let checked: readonly SpareName[] = [];
  let next = 0;
  let down: ReadonlySet<string> = new Set();
  let failing: ReadonlySet<ListenerKey> = new Set();

  return {
    failing: () => failing,
    subscribe: subscribers.subscribe,
    look: async (desired, signal) => {
      if (spares !== desired.spares.servers) {
        spares = desired.spares.servers;
        checked = Array.from(spares)
          .filter(([, servers]) => servers.some((each) => followedBy(each) === undefined))
          .map(([name]) => name);
      }
      if (checked.length + down.size === 0) return;
      if (next >= checked.length) next = 0;
      const asked = checked.slice(next, next + mostBackends);
      next += mostBackends;
      const answers = await api.ask(
        asked.map((name) => `show stat ${name} 2 -1`),
        signal,
      );
      const found = new Set(down);
      for (const [index, name] of asked.entries()) {
        const [backend] = parseStat(answers[index] ?? '');
        if (backend?.status === 'DOWN') found.add(name);
        else if (backend !== undefined) found.delete(name);
      }
      const present = new Set<string>(checked);
      for (const name of found) if (!present.has(name)) found.delete(name);
      if (isSameSet(found, down) && (found.size === 0 || entries === desired.entries)) return;
      down = found;
      ({ entries } = desired);
      const listeners = new Set<ListenerKey>();
      for (const [key, entry] of entries) if (down.has(backendOfEntry(entry))) listeners.add(key);
      if (isSameSet(listeners, failing)) return;
      failing = listeners;
      subscribers.tell();
    },
  };
}
