import { valueWithin } from '../../../async/settles-within.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Metrics } from '../../../ports/metrics.ts';
import { parseOldWorkers } from './master-answers.ts';
import { maxLineBytes, packLines, unlessUnreachable } from '../runtime/client.ts';

/**
 * The workers that reloads have replaced. They accept no connections, check no server, and end with their last connection; only the
 * master's socket reaches them. A master that does not answer, or a worker that has just ended, is not an error.
 */
export type OldWorkers = {
  /** Their process IDs when HAProxy was asked last. */
  known(): readonly number[];
  /** Whether there may be some: there are, or the master has not answered since `pid` serves. */
  mayRun(pid: number): boolean;
  /** The connections of the known ones that answer soon. */
  connections(signal: AbortSignal): Promise<number>;
  /** Sends a command to each known one; resolves with the answers of those that answer soon. */
  ask(command: string, signal: AbortSignal): Promise<readonly string[]>;
  /** Those that HAProxy has now; if the master does not answer soon, those that were known. */
  find(signal: AbortSignal): Promise<readonly number[]>;
  /** Each second: counts them as long as there are some, and after `pid`, the serving worker, has changed. */
  watch(pid: number, signal: AbortSignal): Promise<void>;
  /** Ends the sessions for which `isEnding` holds. False if the master or a worker did not answer: the next call tries again. */
  end(isEnding: (session: Session) => boolean, signal: AbortSignal): Promise<boolean>;
};

/** A session of `show sess`; one without a server has `<none>`. */
export type Session = { readonly id: string; readonly backend: string; readonly server: string };

/**
 * How long the master or a worker has for an answer that is only counted: a search and a question together take less than the three
 * seconds that `furiwake status` has, while the master reads a large configuration, or a worker hangs.
 */
const countMs = 1_200;

export function makeOldWorkers({
  master,
  clock,
  metrics,
}: {
  /** Sends text to the master's socket; resolves with the answer. */
  readonly master: (text: string, signal: AbortSignal) => Promise<string>;
  readonly clock: Pick<Clock, 'deadline'>;
  readonly metrics: Metrics;
}): OldWorkers {
  const gauge = metrics.gauge(
    'furiwake_haproxy_old_workers',
    'Workers of HAProxy that a reload has replaced and that still have connections',
  );
  gauge.set(0);
  let known: readonly number[] = [];
  let serving: number | undefined;
  const ask = async (text: string, signal: AbortSignal): Promise<string | undefined> =>
    await master(`${text}\nquit\n`, signal).catch(unlessUnreachable);
  const askEach = async (command: string, signal: AbortSignal): Promise<readonly string[]> => {
    const answers = await Promise.all(
      known.map((pid) => valueWithin(ask(`@!${pid} ${command}`, signal), undefined, countMs, clock, signal)),
    );
    return answers.filter((answer) => answer !== undefined);
  };
  const find = async (signal: AbortSignal): Promise<readonly number[] | undefined> => {
    const answer = await ask('show proc', signal);
    if (answer === undefined) return undefined;
    const pids = parseOldWorkers(answer);
    known = pids;
    gauge.set(known.length);
    return pids;
  };
  return {
    known: () => known,
    mayRun: (pid) => known.length > 0 || pid !== serving,
    connections: async (signal) => {
      const open = (await askEach('show info', signal)).map(connectionsIn);
      return open.reduce((sum, each) => sum + each, 0);
    },
    ask: askEach,
    find: async (signal) => {
      await valueWithin(find(signal), undefined, countMs, clock, signal);
      return known;
    },
    watch: async (pid, signal) => {
      if (pid === serving && known.length === 0) return;
      if ((await find(signal)) !== undefined) serving = pid;
    },
    end: async (isEnding, signal) => {
      const found = await find(signal);
      let isAll = found !== undefined;
      for (const pid of found ?? []) {
        const sessions = await ask(`@!${pid} show sess`, signal);
        // One by one, because old workers answer `shutdown sessions server` with "Proxy is disabled".
        const ending = parseSessions(sessions ?? '').filter(isEnding);
        const commands = ending.map(({ id }) => `@!${pid} shutdown session ${id}`);
        const answers = [sessions];
        for (const line of packLines(commands, maxLineBytes)) answers.push(await ask(line.join(';'), signal));
        isAll &&= !answers.includes(undefined);
      }
      return isAll;
    },
  };
}

/** Reads `show info`; of a worker that has just ended the master answers that it does not find it. */
function connectionsIn(answer: string): number {
  return Number(/^CurrConns: (\d+)$/m.exec(answer)?.[1] ?? 0);
}

/** Reads `show sess`: `0x5643ab8e0ab0: proto=tcpv4 src=… fe=services be=nodes4 srv=n1 ts=00 …`, a line per session. */
export function parseSessions(answer: string): readonly Session[] {
  return [...answer.matchAll(/^(0x[0-9a-f]+): .*? be=(\S+) srv=(\S+) /gm)].map(
    ([, id = '', backend = '', server = '']) => ({ id, backend, server }),
  );
}
