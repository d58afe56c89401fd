import { unlessAborted } from '../../src/async/abort.ts';
import { RuntimeError, type Sockets } from '../../src/dataplane/haproxy/runtime/client.ts';
import { listenPort } from '../../src/dataplane/haproxy/config/config.ts';
import type { Kill } from '../../src/dataplane/haproxy/process/port-owners.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import type { Files } from '../../src/ports/files.ts';
import { filesOf } from '../sim/harness.ts';
import { connectionsBy } from './connections.ts';
import { answerTo, followedIn, type HaproxyWorker, withoutBrackets } from './haproxy-worker.ts';

/**
 * A machine with a HAProxy in memory, as far as furiwake sees it: programs, files, sockets, signals. `faults` sets its
 * faults, which can be combined.
 */
export type HaproxyMachine = {
  readonly exec: Exec;
  readonly files: Files;
  readonly sockets: Sockets;
  readonly kill: Kill;
  readonly texts: Map<string, string>;
  readonly faults: {
    /** The program exits with this message instead of starting. */
    start: string | undefined;
    /** Configurations for which this returns a message are refused. */
    config: (text: string) => string | undefined;
    /** Commands for which this returns an answer are not executed. */
    command: (command: string) => string | undefined;
    /** The process exits at the first command except `show info`. */
    diesAtCommand: boolean;
    /** Like `diesAtCommand`, but the process continues. */
    breaksAtCommand: boolean;
    /** The same, but it hangs from then on. */
    freezesAtCommand: boolean;
    diesAfterStart: boolean;
    /** The master exits when this is over, after its worker. */
    dying: (() => Promise<void>) | undefined;
    isFrozen: boolean;
    /** What the socket of requests answers nevertheless; `undefined`: nothing, as that of commands. */
    frozenAnswer: string | undefined;
    /** The sockets of the process that runs were removed; the next one has its own. */
    hasLostSockets: boolean;
    /** No request is answered before this is over. */
    hang: Promise<void> | undefined;
    isDiskFull: boolean;
    /** Name of another program that listens on HAProxy's port. */
    portHolder: string | undefined;
    /** A worker that a reload replaces has connections that do not end. */
    keepsOldWorkers: boolean;
    /** Commands to these workers for which this returns an answer have it. */
    oldWorker: (command: string) => string | undefined | Promise<string>;
    /** A reload lasts until this is over: the last worker serves, and the master does not answer. */
    slowReload: Promise<void> | undefined;
    /** The master has just started: it does not answer, and loses signals. */
    isMasterStarting: boolean;
    /** So many signals for a reload are lost. */
    lostReloads: number;
    /** The check of a configuration lasts until this is over. */
    slowCheck: Promise<void> | undefined;
  };
  readonly oldWorkers: number[];
  /** Starts of the program so far. */
  readonly starts: number;
  /** The contents of the process; `undefined`: none runs. */
  readonly held: Pick<HaproxyWorker, 'pid' | 'backends' | 'map' | 'servers' | 'inMaintenance'> | undefined;
  die(): void;
};

export function makeHaproxyMachine(folder: string): HaproxyMachine {
  const texts = new Map<string, string>();
  const disk = filesOf(texts);
  const faults: HaproxyMachine['faults'] = {
    start: undefined,
    config: () => undefined,
    command: () => undefined,
    diesAtCommand: false,
    breaksAtCommand: false,
    freezesAtCommand: false,
    dying: undefined,
    diesAfterStart: false,
    isFrozen: false,
    frozenAnswer: undefined,
    hasLostSockets: false,
    hang: undefined,
    isDiskFull: false,
    portHolder: undefined,
    keepsOldWorkers: false,
    oldWorker: () => undefined,
    slowReload: undefined,
    isMasterStarting: false,
    lostReloads: 0,
    slowCheck: undefined,
  };
  let running: HaproxyWorker | undefined;
  let starts = 0;
  /** Of the master that runs. */
  let [reloads, isReloading] = [0, false];
  const oldWorkers: number[] = [];

  const die = (): void => {
    if (running === undefined) return;
    const master = `/proc/${running.pid}/cmdline`;
    if (faults.dying === undefined) texts.delete(master);
    else void faults.dying().then(() => texts.delete(master));
    running.gone.resolve();
    running = undefined;
    faults.hasLostSockets = false;
  };

  const refuse = (words: string): never => {
    throw new ExecError(
      'haproxy',
      1,
      `[NOTICE]   (${1000 + starts}) : haproxy version is 2.6.12\n[ALERT]    (${1000 + starts}) : ${words}\n`,
    );
  };

  const start = (): void => {
    starts++;
    if (faults.start !== undefined) refuse(faults.start);
    const config = texts.get(`${folder}/haproxy.cfg`) ?? refuse('no configuration');
    const lines = (texts.get(`${folder}/services.map`) ?? '').split('\n').filter((line) => line !== '');
    running = {
      pid: 1000 + starts,
      description: /description "(.*)"/.exec(config)?.[1] ?? '',
      map: new Map(lines.map((line) => line.split(' ', 2) as [string, string])),
      servers: new Map(),
      unchecked: new Set(),
      weights: new Map(),
      inMaintenance: new Set(),
      backends: new Set(Array.from(config.matchAll(/^backend (\S+)/gm), ([, name = '']) => name)),
      added: new Set(),
      followed: new Set(),
      tracking: new Set(),
      gone: Promise.withResolvers(),
    };
    let backend = '';
    for (const line of config.split('\n')) {
      backend = /^backend (\S+)/.exec(line)?.[1] ?? backend;
      const [, name, address = '', weight] = /^ {4}server (\S+) (\S+)(?:.* weight (\d+))?/.exec(line) ?? [];
      if (name === undefined) continue;
      running.servers.set(`${backend}/${name}`, withoutBrackets(address));
      running.weights.set(`${backend}/${name}`, Number(weight ?? 1));
      const followed = followedIn(line);
      if (followed === undefined) continue;
      running.followed.add(followed);
      running.tracking.add(`${backend}/${name}`);
    }
    texts.set(`/proc/${running.pid}/cmdline`, `haproxy\0-f\0${folder}/haproxy.cfg\0-p\0${folder}/haproxy.pid\0`);
    texts.set(`${folder}/haproxy.pid`, `${running.pid}\n`);
  };

  const reload = (): void => {
    const replaced = running?.pid ?? 0;
    die();
    if (faults.keepsOldWorkers) oldWorkers.push(replaced);
    [reloads, isReloading] = [reloads + 1, false];
    start();
  };

  const answer = (worker: HaproxyWorker, command: string): string =>
    faults.command(command) ?? answerTo(worker, command, `${folder}/services.map`);

  const request: Sockets['request'] = async (path, text, signal) => {
    signal.throwIfAborted();
    if (running === undefined || faults.hasLostSockets || !path.startsWith(`${folder}/`))
      throw new RuntimeError('absent', `${path}: no such file or directory`);
    if (faults.hang !== undefined) await unlessAborted(faults.hang, signal);
    if (faults.isFrozen && faults.frozenAnswer !== undefined && path.endsWith('/alive.sock'))
      return faults.frozenAnswer;
    if (faults.isFrozen) throw new RuntimeError('silent', `${path}: no answer within 3 s`);
    if (path.endsWith('/master.sock')) {
      if (isReloading || faults.isMasterStarting) throw new RuntimeError('absent', `${path}: connection refused`);
      if (text.startsWith('@!')) {
        const said = await faults.oldWorker(text.replace(/\nquit\n$/, ''));
        return said ?? (text.includes(' show info') ? 'CurrConns: 1\n' : '');
      }
      const lines = [`${running.pid} master ${reloads} [failed: 0] 0d00h00m01s 2.6.12`, '# old workers'];
      return [...lines, ...oldWorkers.map((pid) => `${pid} worker `)].join('\n');
    }
    if (!path.endsWith('/worker.sock')) return 'HTTP/1.0 200 OK\r\n\r\n';
    const commands = text
      .replace(/^prompt\n/, '')
      .replace(/quit\n$/, '')
      .trim()
      .split(/[;\n]/);
    const isMore = commands.some((command) => command !== 'show info');
    if (isMore && faults.freezesAtCommand) {
      faults.isFrozen = true;
      throw new RuntimeError('silent', `${path}: no answer within 3 s`);
    }
    if (isMore && (faults.diesAtCommand || faults.breaksAtCommand)) {
      if (faults.diesAtCommand) die();
      throw new RuntimeError('broken', `${path}: closed within an answer`);
    }
    const process = running;
    const dialogue = `\n> ${commands.map((command) => answer(process, command)).join('\n> ')}\n> `;
    if (faults.diesAfterStart) die();
    return dialogue;
  };

  return {
    texts,
    faults,
    die,
    oldWorkers,
    get starts() {
      return starts;
    },
    get held() {
      return running;
    },
    kill: (pid, name) => {
      if (running?.pid !== pid) return false;
      if (name !== 'SIGUSR2') die();
      else if (faults.isMasterStarting) return true;
      else if (faults.lostReloads > 0) faults.lostReloads--;
      else if (faults.slowReload === undefined) reload();
      else {
        isReloading = true;
        void faults.slowReload.then(reload);
      }
      return true;
    },
    files: {
      ...disk,
      write: async (path, text, mode) => {
        if (faults.isDiskFull) throw new Error('ENOSPC: no space left on device, write');
        await disk.write(path, text, mode);
      },
    },
    exec: {
      run: async (file, args) => {
        if (file === 'ss') return { stdout: socketsIn(args, running?.pid, faults.portHolder), stderr: '' };
        if (args[0] === '-c') {
          await faults.slowCheck;
          const words = faults.config(texts.get(args.at(-1) ?? '') ?? '');
          if (words !== undefined) refuse(words);
        } else {
          reloads = 0;
          start();
        }
        return { stdout: '', stderr: '' };
      },
      spawn: () => {
        throw new Error('not used');
      },
    },
    sockets: {
      request,
      connect: connectionsBy(request),
      untilClosed: async (path, signal) => {
        if (running === undefined || !path.startsWith(`${folder}/`) || faults.breaksAtCommand) return;
        await Promise.race([
          running.gone.promise,
          new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
        ]);
      },
    },
  };
}

/** What `ss` lists of a HAProxy with this process, and of a foreign program that listens on its port. */
function socketsIn(
  [flags = '', filter = '']: readonly string[],
  pid: number | undefined,
  holder: string | undefined,
): string {
  const own = pid === undefined ? [] : [`("haproxy",pid=${pid},fd=3)`];
  if (flags === '-Hxlp')
    return own.map((user) => `u_str LISTEN 0 0 /run/furiwake/master.sock 100 * 0 users:(${user})\n`).join('');
  if (!flags.startsWith('-Hltn') || !['', `sport = :${listenPort}`].includes(filter)) return '';
  const users = [...(holder === undefined ? [] : [`("${holder}",pid=77,fd=3)`]), ...own];
  const lines = users.flatMap((user) =>
    ['127.0.0.1', '[::1]'].map((address) => {
      const words = `LISTEN 0 128 ${address}:${listenPort} ${address === '[::1]' ? '[::]' : '0.0.0.0'}:*`;
      return flags.endsWith('p') ? `${words} users:(${user})\n` : `${words}\n`;
    }),
  );
  return lines.join('');
}
