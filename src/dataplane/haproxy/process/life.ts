import { makeBackoff, waitAfter } from '../../../async/backoff.ts';
import { makeLatch } from '../../../async/latch.ts';
import { makeSubscribers } from '../../../async/subscribers.ts';
import { makeTrouble } from '../../../async/trouble.ts';
import { messageOf } from '../../../async/error-words.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Log } from '../../../ports/log.ts';
import type { Metrics } from '../../../ports/metrics.ts';
import type { Proxy } from '../../../ports/proxy.ts';
import { RuntimeError } from '../runtime/client.ts';
import type { ProgramId } from '../config/config.ts';
import { makePace, retry } from './pace.ts';
import type { HaproxyProcess } from './process.ts';

/** `new`: started by this attempt. It has nothing but its files, which may be older than the table. */
export type Recovery = 'serves' | 'busy' | 'new';

/**
 * What happens when HAProxy dies, hangs, or was never started: all of it is decided here.
 *
 *   noticed     when it exits: by `guard`, at once
 *               when it hangs: by the tick of each second, and by each change (reconciler.ts)
 *   brought     by `recover`, one attempt, see there
 *   refilled    by the reconciler, through `revive`: a new process gets the complete last table
 *   paced       the first two deaths within ten minutes: started at once
 *               each further one, and each start that fails: after a wait that grows
 *   reported    `trouble`      at once; `furiwake_haproxy_up` is 0
 *               `outage`       after five seconds without service, until the process is steady or has served for two minutes;
 *                              while another program shares the port
 *               log            each cause once, then at growing intervals
 *
 * What it means for the listeners of this host: agent/proxied.ts.
 */
export type Life = Pick<Proxy, 'trouble' | 'outage' | 'onTrouble'> & {
  /**
   * One attempt to get a serving process. `id`: the program of the files.
   *
   *   answers commands                          stays                                                     `serves`
   *   answers requests and no commands          stays, it is slow                                         `busy`
   *   runs, its command socket was removed      another one is started; its connections continue          `new`
   *   answers neither                           throws RuntimeError; after 30 s killed, and one is started   `new`
   *   none                                      one is started                                            `new`
   *
   * While the next start is not due, throws the error of the last one. Throws what `HaproxyProcess.start` throws.
   */
  recover(id: ProgramId, signal: AbortSignal): Promise<Recovery>;
  /** `recover`, and the complete last table for a new process; reports the outcome. `idle`: no process must run. */
  revive(signal: AbortSignal): Promise<Recovery | 'idle' | 'failed'>;
  /** Until `signal` aborts: revives the process as soon as it exits. */
  guard(signal: AbortSignal): Promise<void>;
  /** The last attempt found a process that answers neither commands nor requests. */
  isSilent(): boolean;
  /** From now on a process must run. */
  want(): void;
  /** The worker has answered a command. */
  noteAnswer(): void;
  /** The same, and it serves the last table. */
  noteUp(): void;
  /** Another worker answers than before. */
  noteWorker(): void;
  /**
   * Another program listens on the port beside HAProxy, which serves only some of the connections: an outage at once. `undefined`: none
   * does.
   */
  notePort(words: string | undefined): void;
  /** See `HaproxyProcess.stop`. */
  stop(signal: AbortSignal): Promise<boolean>;
};

const silenceMs = 30_000;
/** A process that died twice may have been killed twice; the start after the third death waits. */
const deathsAtOnce = 2;
const deathWindowMs = 600_000;
/** How long a process has served before it counts as steady: after at most two deaths, and after more. */
const [steadyMs, steadyAfterDeathsMs] = [500, 30_000];
/** After so long its Services no longer say that it is down, whatever came before. */
const longestOutageMs = 120_000;
/** A shorter failure is not an outage: HAProxy was started again at once. One that serves for a shorter time is still down. */
const [outageMs, upMs] = [5_000, 10_000];
/** A HAProxy that dies again sooner is logged at growing intervals only. */
const calmMs = 600_000;

export function makeLife({
  process,
  revive: refill,
  maxConnections,
  clock,
  log,
  metrics,
}: {
  readonly process: HaproxyProcess;
  /** See `Reconciler.revive`. */
  readonly revive: (signal: AbortSignal) => Promise<Recovery | 'idle'>;
  readonly maxConnections: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}): Life {
  const monotonic = (): number => clock.monotonic();
  const wanted = makeLatch();
  let workerChanged = new AbortController();

  /** `undefined`: it was not started by this furiwake. */
  let startedMs: number | undefined;
  let answeredMs = Number.NEGATIVE_INFINITY;
  let silentSinceMs: number | undefined;
  /** It has answered, and was not ended by furiwake since. */
  let isKnownAlive = false;
  const noteAnswer = (): void => {
    answeredMs = monotonic();
    silentSinceMs = undefined;
    isKnownAlive = true;
  };

  const starts = makePace(clock);
  /** Those of the last ten minutes. */
  let deathsMs: readonly number[] = [];
  const recentDeathsMs = (): readonly number[] =>
    (deathsMs = deathsMs.filter((ms) => monotonic() - ms < deathWindowMs));
  /** How the last one ended; `undefined`: there was none, it was stopped, or another one was started since. */
  let end: 'died' | 'silent' | 'retired' | undefined;
  /** The next start waits from now on, when the process is found dead. */
  const noteDeath = (): void => {
    if (!isKnownAlive) return;
    isKnownAlive = false;
    end = 'died';
    deathsMs = [...recentDeathsMs(), monotonic()];
    const beyond = deathsMs.length - deathsAtOnce;
    if (beyond > 0) starts.failed('HAProxy exits again and again', waitAfter(beyond, retry));
  };

  /** How long it has served since its start, as far as it has answered. */
  const servedMs = (): number => (startedMs === undefined ? Infinity : answeredMs - startedMs);
  /** After several deaths: as long as the first and the last are apart, so that one that dies at regular intervals is never steady. */
  const isSteady = (): boolean => {
    const recent = recentDeathsMs();
    const seriesMs = Math.max(steadyAfterDeathsMs, (recent.at(-1) ?? 0) - (recent[0] ?? 0));
    return servedMs() > (recent.length > deathsAtOnce ? seriesMs : steadyMs);
  };

  const restarts = metrics.counter('furiwake_haproxy_restarts_total', 'Starts of HAProxy after it had died or hung');
  const deathTrouble = makeTrouble({ what: 'keeping HAProxy running', log, clock });
  let reportedMs = Number.NEGATIVE_INFINITY;
  const reportDeath = (): void => {
    restarts.add(1);
    const silent = `did not answer for ${silenceMs / 1000} s and was replaced`;
    const what = end === 'silent' ? silent : 'exited unexpectedly and was started again';
    const words = `HAProxy ${what}; its connections were lost`;
    if (monotonic() - reportedMs >= calmMs) log.error({}, words);
    else deathTrouble.failed(words);
    reportedMs = monotonic();
  };

  /** When another one serves: for the attempt that started it, or for a later one if that one did not wait long enough. */
  const reportEnd = (): void => {
    const lost = 'the sockets of HAProxy were lost: a new process accepts connections, the old one keeps its own';
    if (end === 'retired') log.warn({}, lost);
    else if (end !== undefined) reportDeath();
    end = undefined;
  };

  const start = async (id: ProgramId, signal: AbortSignal): Promise<void> => {
    noteDeath();
    await starts.attempt(async () => {
      startedMs = monotonic();
      const { pid } = await process.start(id, signal);
      noteAnswer();
      if (end === undefined) log.info({ pid, maxConnections }, 'HAProxy started');
      reportEnd();
      await process.untilKnown(signal);
    }, signal);
  };

  /** `askedMs`: when it was asked what it has not answered. */
  const awaitEndOfSilence = (askedMs: number): void => {
    silentSinceMs ??= askedMs;
    if (monotonic() - silentSinceMs >= silenceMs) return;
    downSinceMs ??= silentSinceMs;
    const words = `HAProxy answers neither commands nor requests; it is replaced after ${silenceMs / 1000} s of silence`;
    reportDown(words); // a change that waits for it may ask before `revive`
    throw new RuntimeError('silent', words);
  };

  const recover = async (id: ProgramId, signal: AbortSignal): Promise<Recovery> => {
    const askedMs = monotonic();
    const seen = await process.look(signal);
    if (seen === 'busy') silentSinceMs = undefined;
    if (seen === 'serves') {
      noteAnswer();
      reportEnd();
    }
    if (seen === 'serves' || seen === 'busy') return seen;
    if (seen === 'silent') {
      awaitEndOfSilence(askedMs);
      await process.kill(signal);
      noteDeath();
      end = 'silent';
    }
    // A reload does not bind a removed socket again: the new worker inherits it from the old one.
    if (seen === 'unreachable' && (await process.retire(signal))) {
      isKnownAlive = false;
      end = 'retired';
    }
    await start(id, signal);
    return 'new';
  };

  const up = metrics.gauge('furiwake_haproxy_up', '1 while HAProxy serves');
  up.set(0);
  const serviceTrouble = makeTrouble({ what: 'running HAProxy', log, clock, level: 'error' });
  const subscribers = makeSubscribers();
  let trouble: string | undefined;
  let outage: string | undefined;
  let sharedPort: string | undefined;
  let downSinceMs: number | undefined;
  const report = (next: { readonly trouble: string | undefined; readonly outage: string | undefined }): void => {
    if (next.trouble === trouble && next.outage === outage) return;
    ({ trouble, outage } = next);
    subscribers.tell();
  };
  const reportDown = (words: string): void => {
    const isOutage = monotonic() - (downSinceMs ?? monotonic()) >= outageMs;
    report({ trouble: words, outage: outage ?? (isOutage ? words : undefined) });
    up.set(0);
  };
  /** The first words stay. */
  const noteDown = (error: unknown): void => {
    const words = messageOf(error);
    downSinceMs ??= monotonic();
    reportDown(words);
    serviceTrouble.failed(error);
  };
  const noteServing = (words: string | undefined): void => {
    if (servedMs() > upMs) downSinceMs = undefined;
    report({ trouble: words, outage: isSteady() || servedMs() > longestOutageMs ? undefined : outage });
    up.set(1);
    if (words !== undefined) serviceTrouble.failed(words);
    else if (isSteady()) serviceTrouble.over();
  };
  const noteUp = (): void => {
    noteAnswer();
    noteServing(undefined);
    if (monotonic() - reportedMs >= calmMs) deathTrouble.over();
  };

  const revive = async (signal: AbortSignal): Promise<Recovery | 'idle' | 'failed'> => {
    try {
      const outcome = await refill(signal);
      if (outcome === 'busy') noteServing('HAProxy serves, but its command socket does not answer');
      else if (outcome !== 'idle') noteUp();
      return outcome;
    } catch (error) {
      signal.throwIfAborted();
      noteDown(error);
      return 'failed';
    }
  };

  return {
    recover,
    revive,
    guard: async (signal) => {
      const backoff = makeBackoff(retry);
      for (;;) {
        const openedMs = monotonic();
        await process.untilExit(AbortSignal.any([signal, workerChanged.signal]));
        signal.throwIfAborted();
        if (monotonic() - openedMs > retry.mostMs) backoff.reset();
        const outcome = await revive(signal);
        if (outcome === 'idle') await wanted.wait(signal);
        else if (outcome !== 'new') await clock.sleep(Math.max(backoff.next(), starts.inMs()), signal);
      }
    },
    isSilent: () => silentSinceMs !== undefined,
    want: () => wanted.set(),
    noteAnswer,
    noteUp,
    noteWorker: () => {
      workerChanged.abort();
      workerChanged = new AbortController();
    },
    notePort: (words) => {
      if (sharedPort === words) return;
      sharedPort = words;
      subscribers.tell();
    },
    trouble: () => trouble ?? sharedPort,
    outage: () => outage ?? sharedPort,
    onTrouble: subscribers.subscribe,
    stop: async (signal) => {
      isKnownAlive = false;
      end = undefined;
      const wasThere = await process.stop(signal);
      downSinceMs = undefined;
      report({ trouble: undefined, outage: undefined });
      up.set(0);
      return wasThere;
    },
  };
}
