import { makeAuditPace } from '../async/audit-pace.ts';
import { makeBackoff } from '../async/backoff.ts';
import { type Latch, waitAtMost } from '../async/latch.ts';
import { makePacedRepairs } from '../async/paced-repairs.ts';
import type { Serial } from '../async/serial.ts';
import { settlesWithin } from '../async/settles-within.ts';
import { makeTrouble } from '../async/trouble.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Addresses } from '../ports/host.ts';
import type { Placement } from '../ports/placement.ts';
import type { HostTable } from '../ports/host-table.ts';
import type { Steering } from '../ports/steering.ts';
import type { Log } from '../ports/log.ts';
import type { Direct } from '../ports/direct.ts';
import type { Nat } from '../ports/nat.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { HostState } from './host-state.ts';
import { shortMs, type Stage } from './stages.ts';

export type AuditDeps = {
  readonly proxy: Proxy;
  readonly steering: Steering;
  readonly direct: Direct;
  readonly nat: Nat;
  readonly placement: Pick<Placement, 'audit' | 'check'>;
  /** Announces again what is announced, without addresses that are the host's own by now. */
  readonly announceAgain: () => void;
  /** One change of the host at a time. */
  readonly inTurn: Serial;
  readonly programmed: () => HostState['programmed'];
  /** Whether an attempt of one of these stages outlasts its pass: what the part has is not what `programmed` says. */
  readonly isUnsettled: (...of: readonly Stage[]) => boolean;
  readonly mayAttract: () => boolean;
  /** Set when the kernel reports that addresses or links changed: they are audited at once. */
  readonly auditNow: Latch;
  /** Called when the addresses of the host may have changed. */
  readonly onAddresses: () => void;
  readonly clock: Clock;
  readonly log: Log;
};

type Programmed = NonNullable<HostState['programmed']>;

/** Both calls resolve with the number of repairs. */
type Audit = {
  readonly audit: (programmed: Programmed) => Promise<number>;
  /** In place of an audit while none is due. */
  readonly check: (programmed: Programmed) => Promise<number>;
  /** Resolves with whether there is news to audit for. */
  readonly wait: (ms: number, tookMs: number) => Promise<boolean>;
};

const everyMs = 30_000;
/** The least time between two audits of addresses: each start of a container adds an interface, which the kernel reports. */
const leastMs = 500;
/** They take at most a tenth of the time: a router may have a million routes, of which some change all the time. */
const mostShare = 10;
/** A part that failed is due again with the others at the latest. */
const retry = { firstMs: 1_000, mostMs: everyMs };

/**
 * Compares the state of each part with what is programmed, and repairs it: every 30 s by an audit, which reads everything, or by a check
 * while the next audit is not due (`makeAuditPace`). Addresses are audited as soon as the kernel reports a change. Each part is
 * independent: one that fails, or does not end, does not keep the others from being repaired.
 */
export async function runAudits(deps: AuditDeps, signal: AbortSignal): Promise<void> {
  const { proxy, steering, direct, nat, placement, clock, log } = deps;

  /**
   * Begins an audit while no pass is under way; a pass need not wait for its end, for each part makes its changes in the order of
   * the calls. Resolves with the number of repairs; `undefined`: there was no audit.
   */
  const turn = async (of: readonly Stage[], work: () => Promise<number>): Promise<number | undefined> => {
    const begun = await deps.inTurn(async () => {
      if (deps.isUnsettled(...of)) return undefined;
      const repairs = work();
      await settlesWithin(repairs, shortMs, clock, signal);
      return { repairs };
    });
    return await begun?.repairs;
  };

  const repeat = async (what: string, of: readonly Stage[], { audit, check, wait }: Audit): Promise<never> => {
    const trouble = makeTrouble({ what: `auditing ${what}`, log, clock });
    const backoff = makeBackoff(retry);
    const repaired = makePacedRepairs({ what, clock, log, signal });
    const pace = makeAuditPace(clock);
    let waitMs = everyMs;
    let tookMs = 0;
    let isTold = false;
    const run = async (programmed: Programmed): Promise<number> => {
      if (!isTold && !pace.isDue()) return await check(programmed);
      const repairs = await pace.run(() => audit(programmed));
      isTold = false;
      return repairs;
    };
    for (;;) {
      isTold = (await wait(waitMs, tookMs)) || isTold;
      try {
        const repairs = await turn(of, async () => {
          const programmed = deps.programmed();
          const begunMs = clock.monotonic();
          try {
            return programmed === undefined ? 0 : await run(programmed);
          } finally {
            tookMs = clock.monotonic() - begunMs;
          }
        });
        if (repairs === undefined) {
          waitMs = retry.firstMs; // news of the kernel may have come
          continue;
        }
        if (repairs > 0) await clock.sleep(repaired({ found: repairs }), signal);
        trouble.over();
        backoff.reset();
        waitMs = everyMs;
      } catch (error) {
        signal.throwIfAborted();
        trouble.failed(error);
        waitMs = backoff.next();
      }
    }
  };
  const sleep = async (ms: number): Promise<boolean> => {
    await clock.sleep(ms, signal);
    return false;
  };
  let startedMs = -Infinity;
  const untilTold = async (ms: number, tookMs: number): Promise<boolean> => {
    const nowMs = clock.monotonic();
    const retryMs = ms < everyMs ? nowMs + ms : 0;
    const pacedMs = startedMs + Math.min(everyMs, Math.max(leastMs, tookMs * mostShare));
    const isTold = await waitAtMost(ms, deps.auditNow, clock, signal);
    await clock.sleep(Math.max(0, Math.max(pacedMs, retryMs) - clock.monotonic()), signal);
    startedMs = clock.monotonic();
    return isTold;
  };
  const addresses =
    (look: 'audit' | 'check') =>
    async ({ addresses: all }: Programmed): Promise<number> => {
      const wanted: Addresses = deps.mayAttract() ? all : PersistentMap.empty();
      const restored = await placement[look](wanted, signal);
      deps.announceAgain();
      deps.onAddresses();
      return restored.length;
    };
  const table = (part: HostTable): Audit => ({
    audit: () => part.audit(signal),
    check: () => part.check(signal),
    wait: sleep,
  });

  await Promise.all([
    repeat('HAProxy', ['proxy', 'pruning'], {
      audit: ({ proxied }) => proxy.audit(proxied, signal),
      check: ({ proxied }) => proxy.check(proxied, signal),
      wait: sleep,
    }),
    repeat('nftables', ['steering'], table(steering)),
    repeat('the table of direct', ['direct'], table(direct)),
    repeat('the table of nat', ['nat'], table(nat)),
    repeat('the addresses of this host', ['addresses', 'removal'], {
      audit: addresses('audit'),
      check: addresses('check'),
      wait: untilTold,
    }),
  ]);
}
