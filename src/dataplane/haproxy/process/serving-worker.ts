import { makeBackoff, waitLimits } from '../../../async/backoff.ts';
import { makePacedRepairs } from '../../../async/paced-repairs.ts';
import { makeTrouble } from '../../../async/trouble.ts';
import { families } from '../../../core/ip/ip.ts';
import { nodesBackend } from '../../../core/traffic/table.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { FamilyHealths } from '../../../ports/health.ts';
import type { Log } from '../../../ports/log.ts';
import { makeAffinity, type Remembered } from '../runtime/affinity.ts';
import { RuntimeError, type RuntimeApi, unlessUnreachable } from '../runtime/client.ts';
import type { ProgramId } from '../config/config.ts';
import type { Desired } from '../config/desired.ts';
import type { HaproxyFiles } from '../config/haproxy-files.ts';
import type { MapSaver } from '../config/map-saver.ts';
import type { Life, Recovery } from './life.ts';
import type { Need, Reloads } from './reloads.ts';
import { type Undeclared, undeclaredIn } from '../runtime/undeclared.ts';
import { readHeld, type WorkerContents } from '../runtime/worker.ts';

/**
 * The worker that serves: how furiwake gets one that runs the wanted program, and what it holds. See life.ts for one that died.
 *
 *   runs the program                      stays
 *   runs another one of furiwake          reload, if a listener needs it, or an earlier furiwake made it; meanwhile, and if the reload
 *                                         fails, it stays
 *   runs none of furiwake                 reload
 *   another program has reloaded it       reload: HAProxy read its files as they were then; after growing waits, if that is repeated
 *   died, hangs, or was never started     `Life.recover`, with the files as they are wanted, or as they were accepted last
 *
 * Each call makes one attempt; a caller that repeats it must wait longer each time.
 */
export type ServingWorker = {
  /** Reads a process of an earlier furiwake, once. No error if there is none. */
  meet(signal: AbortSignal): Promise<void>;
  /**
   * Writes the configuration for `desired`: a start or a reload has it from now on. A failure matters only then. While a reload
   * or the next attempt after a failure is not due, it is written only for a start.
   */
  want(desired: Desired, signal: AbortSignal): Promise<void>;
  /** One attempt to get a worker that runs the wanted program, or the last one if its reload fails. */
  bring(signal: AbortSignal): Promise<WorkerContents>;
  /** One attempt to get a worker that answers, whatever program of furiwake it runs. */
  recover(signal: AbortSignal): Promise<Recovery>;
  /** What the worker holds; `undefined`: not known for certain, must be read before the next change. */
  held(): WorkerContents | undefined;
  /** Each five seconds at most: reads the servers of clients (`sessionAffinity`). If the worker dies, the next one gets them. */
  rememberClients(signal: AbortSignal): Promise<void>;
  /** `undefined`: a change is under way, or it is not certain that all of it was made. */
  hold(contents: WorkerContents | undefined): void;
  read(signal: AbortSignal): Promise<WorkerContents>;
  /** Whether changes can be made without a reload. */
  isUsable(contents: WorkerContents): boolean;
  /** Whether the worker that was read last must be reloaded now, though no change needs it. */
  isReloadDue(): boolean;
  /** The part of `desired` that needs a program that these contents do not have; `undefined`: none. */
  undeclared(contents: WorkerContents, desired: Desired): Undeclared | undefined;
};

/** The least time between two readings, and how much longer than the last one took. */
const [clientsMs, clientsShare] = [5_000, 100];

export function makeServingWorker(deps: {
  readonly api: RuntimeApi;
  readonly life: Pick<Life, 'recover' | 'noteAnswer' | 'noteWorker'>;
  readonly haproxyFiles: HaproxyFiles;
  readonly mapSaver: MapSaver;
  readonly reloads: Reloads;
  readonly health: FamilyHealths;
  readonly clock: Clock;
  readonly log: Log;
}): ServingWorker {
  const { api, life, haproxyFiles, mapSaver, reloads, health, clock, log } = deps;
  const affinity = makeAffinity(deps);
  const clientsTrouble = makeTrouble({ what: 'reading the servers of clients with session affinity', log, clock });
  const configTrouble = makeTrouble({ what: 'writing the configuration of HAProxy', log, clock });

  let wanted: Desired | undefined;
  let program = '' as ProgramId;
  /** The last worker with a program of furiwake. */
  let last: WorkerContents | undefined;
  /** The last program of this furiwake that a worker was seen to run. */
  let own: ProgramId | undefined;
  let held: WorkerContents | undefined;
  let pid: number | undefined;
  /** The worker whose program is known: that of an earlier furiwake, or of the last start or reload. `next`: the one that answers next. */
  let known: number | 'next' | undefined = 'next';
  let clients: readonly Remembered[] = [];
  let clientsDueMs = 0;
  /** A worker was started, and has not got them yet: it did not answer. */
  let areClientsOwed = false;
  const reloaded = makePacedRepairs({ what: 'the configuration of HAProxy', clock, log });
  const reloadBackoff = makeBackoff(waitLimits.patient);
  let reloadDueMs = 0;
  let hasMet = false;
  let isFoundChecked = false;
  let fileProblem: unknown;
  const fileBackoff = makeBackoff(waitLimits.patient);
  let fileDueMs = 0;
  /** The wanted configuration was not written, because that was not due. */
  let isUnwritten = false;

  const writeConfig = async (desired: Desired, signal: AbortSignal): Promise<void> => {
    isUnwritten = false;
    try {
      const words = await haproxyFiles.putConfig(desired, signal);
      fileProblem = undefined;
      fileBackoff.reset();
      if (words === undefined) configTrouble.over();
      else configTrouble.failed(`HAProxy refuses it because of its nodes: ${words}`);
    } catch (error) {
      signal.throwIfAborted();
      fileProblem = error;
      fileDueMs = clock.monotonic() + fileBackoff.next();
      configTrouble.failed(error);
    }
  };

  /** A process of an earlier furiwake. */
  const adopt = (present: WorkerContents): void => {
    for (const family of families) {
      const servers = [...(present.servers.get(nodesBackend(family))?.values() ?? [])];
      if (servers.length > 0) health[family].adopt(servers.some(({ isChecked }) => isChecked));
    }
    const listeners = present.entries.values.size;
    log.info({ pid: present.pid, listeners }, 'took over the running HAProxy; connections preserved');
  };

  const noteReloaded = (worker: number): void => {
    reloadDueMs = clock.monotonic() + reloaded({ pid: worker });
  };

  /** That of an earlier furiwake may have read the edited configuration. */
  const disownEdited = (): void => {
    if (isFoundChecked) return;
    isFoundChecked = true;
    if (held === undefined || !haproxyFiles.wasEdited()) return;
    known = undefined;
    held = { ...held, program: undefined };
    noteReloaded(held.pid);
  };

  const read = async (signal: AbortSignal): Promise<WorkerContents> => {
    const found = await readHeld(api, signal);
    life.noteAnswer();
    if (!hasMet) adopt(found);
    hasMet = true;
    if (known === 'next') known = found.pid;
    const isKnown = found.pid === known;
    const present = isKnown ? found : { ...found, program: undefined };
    if (present.pid !== pid) {
      for (const family of families) health[family].forgetOrders();
      life.noteWorker();
      if (!isKnown) noteReloaded(present.pid);
    }
    pid = present.pid;
    held = present;
    if (present.program !== undefined) last = present;
    return present;
  };

  /** Before a start or a reload: the program of the file. If the new one cannot be written, the last one will do. */
  const prepareFiles = async (signal: AbortSignal): Promise<ProgramId> => {
    const isAgain = fileProblem !== undefined && clock.monotonic() >= fileDueMs;
    if (wanted !== undefined && (isUnwritten || isAgain || !(await haproxyFiles.areIntact())))
      await writeConfig(wanted, signal);
    const written = haproxyFiles.program();
    const isWanted = fileProblem === undefined || written === program;
    if (!isWanted && (written === undefined || written !== last?.program)) throw fileProblem;
    if (wanted !== undefined) await mapSaver.save(wanted);
    return isWanted ? program : (written ?? program);
  };

  /** Another furiwake made the program: what it declares beside its backends is not known. */
  const needOf = (present: WorkerContents, { need }: Undeclared): Need =>
    present.program === own ? need : { isForAll: true, namespaces: new Set() };

  /**
   * Loads the program. If that fails, a worker with one of furiwake keeps serving, and the next attempts wait. It does also if no
   * listener needs the new one, as after the end of a profile.
   */
  const reload = async (present: WorkerContents, desired: Desired, signal: AbortSignal): Promise<WorkerContents> => {
    const isUsable = present.program !== undefined;
    const undeclared = undeclaredIn(desired, present.backends);
    const need = needOf(present, undeclared);
    if (isUsable) {
      if (present.program === own && undeclared.listeners.length === 0) return present;
      if (!(await reloads.mayReload(need, signal))) return present;
    }
    held = undefined;
    let remembered: Awaited<ReturnType<typeof affinity.read>> = [];
    try {
      if ((await prepareFiles(signal)) !== program) throw fileProblem;
      known = 'next';
      remembered = await affinity.read(present.backends, signal);
      await reloads.reload(program, need, present.pid, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isUsable) {
        reloadDueMs = clock.monotonic() + reloadBackoff.next();
        throw error;
      }
      const now = await read(signal);
      if (now.program === undefined) throw error;
      reloads.failed(error, error === fileProblem); // which has a line of its own
      return now;
    }
    reloadBackoff.reset();
    const next = await read(signal);
    await affinity.write(remembered, next.backends, signal);
    return next;
  };

  const giveClients = async (next: WorkerContents, signal: AbortSignal): Promise<void> => {
    if (!areClientsOwed) return;
    areClientsOwed = false;
    await affinity.write(clients, next.backends, signal);
  };

  const recover = async (signal: AbortSignal): Promise<Recovery> => {
    held = undefined;
    const prepared = await prepareFiles(signal);
    const outcome = await life.recover(prepared, signal).catch((error: unknown) => {
      if (!(error instanceof RuntimeError)) known = 'next'; // it may have been started, and answer later
      throw error;
    });
    if (outcome === 'new') {
      hasMet = true; // there is nothing of an earlier furiwake to adopt
      known = 'next';
      areClientsOwed = true;
    }
    if (outcome !== 'busy') await giveClients(await read(signal), signal);
    return outcome;
  };

  return {
    meet: async (signal) => {
      if (!hasMet) await read(signal).catch(unlessUnreachable);
    },
    want: async (desired, signal) => {
      wanted = desired;
      ({ program } = desired);
      const isWaiting = (serving: WorkerContents): boolean =>
        program !== serving.program &&
        reloads.wait(needOf(serving, undeclaredIn(desired, serving.backends))) !== undefined;
      const isFileDue = fileProblem === undefined || clock.monotonic() >= fileDueMs;
      isUnwritten = last !== undefined && (!isFileDue || isWaiting(last));
      if (!isUnwritten) await writeConfig(desired, signal);
    },
    bring: async (signal) => {
      disownEdited();
      let present = held ?? (await read(signal).catch(unlessUnreachable));
      if (present === undefined) {
        if ((await recover(signal)) === 'busy')
          throw new RuntimeError('silent', 'HAProxy serves, but its command socket does not answer');
        present = held ?? (await read(signal));
      }
      await giveClients(present, signal);
      if (present.program !== program && wanted !== undefined) present = await reload(present, wanted, signal);
      if (present.program === program) own = program;
      return present;
    },
    recover,
    read,
    held: () => held,
    rememberClients: async (signal) => {
      const startMs = clock.monotonic();
      const asked = held;
      if (asked === undefined || areClientsOwed || startMs < clientsDueMs) return;
      clientsDueMs = Infinity;
      try {
        const found = await affinity.readForDeath(asked.backends, signal);
        if (held?.pid === asked.pid) clients = found; // otherwise it may be of a new worker, which knows none
        clientsTrouble.over();
      } catch (error) {
        signal.throwIfAborted();
        clientsTrouble.failed(error);
      } finally {
        const nowMs = clock.monotonic();
        clientsDueMs = nowMs + Math.max(clientsMs, (nowMs - startMs) * clientsShare);
      }
    },
    hold: (contents) => {
      held = contents;
    },
    isUsable: (contents) => contents.program !== undefined,
    isReloadDue: () => held?.program === undefined && clock.monotonic() >= reloadDueMs,
    undeclared: (contents, desired) =>
      contents.program === program ? undefined : undeclaredIn(desired, contents.backends),
  };
}
