import { makeTrouble } from '../../async/trouble.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { makeListener } from '../../core/traffic/make-listener.ts';
import type { Listener, Listeners } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Log } from '../../ports/log.ts';
import { type FormerNat, makeFormerNat } from '../nftables/former-nat.ts';
import { readFlowClients } from '../nftables/nat-clients.ts';

/** Those of {@link FormerNat}, until `nat` has no connection of them. */
export type FormerListeners = Pick<FormerNat, 'follow' | 'keys'> & {
  /** What `nat` still has of such a listener. */
  rest(had: Listener, now: Listener): Listener;
  /** Forgets those of `listeners` without a connection, and returns the others. */
  withoutIdle(listeners: Listeners, signal: AbortSignal): Promise<Listeners>;
};

export function makeFormerListeners(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
}): FormerListeners {
  const { exec, clock, log } = deps;
  const former = makeFormerNat();
  const trouble = makeTrouble({ what: 'reading which connections nat holds of former listeners', log, clock });
  return {
    ...former,
    rest: (had, { sourceRanges }) => (had.sourceRanges === sourceRanges ? had : makeListener({ ...had, sourceRanges })),
    withoutIdle: async (listeners, signal) => {
      const asked = Array.from(former.keys(), (key) => listeners.get(key)).filter((each) => each !== undefined);
      if (asked.length === 0) return listeners;
      try {
        const clients = await readFlowClients(exec, asked, signal);
        trouble.over();
        const idle: readonly ListenerKey[] = asked.map(({ key }) => key).filter((key) => !clients.has(key));
        former.forget(idle);
        return listeners.with(idle.map((key) => [key, undefined]));
      } catch (error) {
        signal.throwIfAborted();
        trouble.failed(error); // the next audit asks again
        return listeners;
      }
    },
  };
}
