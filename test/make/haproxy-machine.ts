import { unlessAborted } from '../../src/async/abort.ts';
import { RuntimeError, type Sockets } from '../../src/dataplane/haproxy/runtime/client.ts';
import type { Kill } from '../../src/dataplane/haproxy/process/port-owners.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import type { Files } from '../../src/ports/files.ts';
import { filesOf } from '../sim/harness.ts';
import { connectionsBy } from './connections.ts';

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
    diesAfterStart: boolean;
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
  };
  readonly oldWorkers: number[];
  /** Starts of the program so far. */
  readonly starts: number;
  /** The contents of the process; `undefined`: none runs. */
  readonly held: Pick<Process, 'pid' | 'backends' | 'map' | 'servers' | 'inMaintenance'> | undefined;
  die(): void;
};

type Process = {
  readonly pid: number;
  readonly description: string;
  readonly map: Map<string, string>;
  readonly servers: Map<string, string>;
  /** Servers with disabled health checks. */
  readonly unchecked: Set<string>;
  /** Those of the servers that are not 1. */
  readonly weights: Map<string, number>;
  readonly inMaintenance: Set<string>;
  readonly backends: ReadonlySet<string>;
  /** Servers that were added at run time: none can track them. */
  readonly added: Set<string>;
  /** Servers that another one has tracked: HAProxy never deletes them. */
  readonly followed: Set<string>;
  /** Those that track one. */
  readonly tracking: Set<string>;
  readonly gone: PromiseWithResolvers<void>;
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
    diesAfterStart: false,
    isFrozen: false,
    frozenAnswer: undefined,
    hasLostSockets: false,
    hang: undefined,
    isDiskFull: false,
    portHolder: undefined,
    keepsOldWorkers: false,
  };
  let running: Process | undefined;
  let starts = 0;
  const oldWorkers: number[] = [];

  const die = (): void => {
    if (running === undefined) return;
    texts.delete(`/proc/${running.pid}/cmdline`);
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

  const answer = (process: Process, command: string): string => {
    const refusal = faults.command(command);
    if (refusal !== undefined) return refusal;
    const [verb, what, first = '', second = '', third = ''] = command.split(' ');
    if (command === 'show info')
      return `Pid: ${process.pid}\nVersion: 2.6.12\ndescription: ${process.description}\nMaxconn: 100\nCurrConns: 0`;
    if (command.startsWith('show servers state')) {
      const header =
        '1\n# be_name srv_name srv_addr srv_admin_state srv_uweight srv_check_state srv_port srv_check_port srv_check_addr';
      const some = Array.from(process.servers).filter(([id]) => second === '' || id.startsWith(`${second}/`));
      const lines = some.map(([id, address]) => {
        const check = process.unchecked.has(id) ? 2 : 6;
        const admin = process.inMaintenance.has(id) ? 1 : 0;
        return `${id.replace('/', ' ')} ${address} ${admin} ${process.weights.get(id) ?? 1} ${check} 0 10256 -`;
      });
      return [header, ...lines].join('\n');
    }
    if (command === 'show map')
      return `# id (file) description\n0 (${folder}/services.map) pattern loaded from file. curr_ver=0 next_ver=0 entry_cnt=${process.map.size}`;
    if (verb === 'show' && what === 'map')
      return Array.from(process.map, (entry) => `0x1 ${entry.join(' ')}`).join('\n');
    if (command === 'show backend') return ['# name', ...process.backends].join('\n');
    if (verb === 'show' && what === 'stat') return '# pxname,svname,scur,stot,status,check_status,last_chk,addr,';
    if (verb === 'show') return '# table: services';
    if (what === 'health') {
      if (verb === 'enable') process.unchecked.delete(first);
      else process.unchecked.add(first);
    }
    if (what === 'map') {
      if (verb !== 'add' && !process.map.has(second)) return verb === 'del' ? 'Key not found.' : 'entry not found.';
      if (verb === 'del') process.map.delete(second);
      else process.map.set(second, third);
    }
    if (what === 'server' && verb !== 'add' && !process.servers.has(first)) return 'No such server.';
    if (verb === 'add' && what === 'server') {
      if (!process.backends.has(first.split('/')[0] ?? '')) return 'No such backend.';
      if (process.servers.has(first)) return 'Already exists a server with the same name in backend.';
      const followed = followedIn(command);
      if (followed !== undefined && !process.servers.has(followed))
        return `unable to find required server '${followed}' for tracking.`;
      if (followed !== undefined && process.added.has(followed))
        return `unable to use ${followed} for tracking as it is a dynamic server.`;
      if (followed !== undefined) process.followed.add(followed);
      process.tracking.delete(first);
      if (followed !== undefined) process.tracking.add(first);
      process.inMaintenance.add(first);
      process.added.add(first);
      process.servers.set(first, withoutBrackets(second));
      process.unchecked.add(first);
      process.weights.set(first, Number(/ weight (\d+)/.exec(command)?.[1] ?? 1));
      return 'New server registered.';
    }
    if (verb === 'set' && what === 'server') {
      if (second === 'health' && process.tracking.has(first)) return 'cannot change health on a tracking server.';
      if (second === 'weight') process.weights.set(first, Number(third));
      if (second === 'addr') process.servers.set(first, third);
      if (second === 'state' && third === 'maint') process.inMaintenance.add(first);
      else if (second === 'state') process.inMaintenance.delete(first);
    }
    if (verb === 'del' && what === 'server') {
      if (process.followed.has(first))
        return 'This server cannot be removed at runtime due to other configuration elements pointing to it.';
      if (!process.inMaintenance.delete(first)) return 'Only servers in maintenance mode can be deleted.';
      process.servers.delete(first);
      process.added.delete(first);
      return 'Server deleted.';
    }
    return '';
  };

  const request: Sockets['request'] = async (path, text, signal) => {
    signal.throwIfAborted();
    if (running === undefined || faults.hasLostSockets || !path.startsWith(`${folder}/`))
      throw new RuntimeError('absent', `${path}: connect ENOENT`);
    if (faults.hang !== undefined) await unlessAborted(faults.hang, signal);
    if (faults.isFrozen && faults.frozenAnswer !== undefined && path.endsWith('/alive.sock'))
      return faults.frozenAnswer;
    if (faults.isFrozen) throw new RuntimeError('silent', `${path}: no answer within 3 s`);
    if (text.startsWith('show proc')) return ['# old workers', ...oldWorkers.map((pid) => `${pid} worker `)].join('\n');
    if (!path.endsWith('/worker.sock')) return 'HTTP/1.0 200 OK\r\n\r\n';
    const commands = text
      .replace(/^prompt\n/, '')
      .replace(/quit\n$/, '')
      .trim()
      .split(/[;\n]/);
    const isMore = commands.some((command) => command !== 'show info');
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
      die();
      if (name === 'SIGUSR2') {
        if (faults.keepsOldWorkers) oldWorkers.push(pid);
        start(); // a reload
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
        if (file === 'ss' && args[0] === '-Hxlp') return { stdout: '', stderr: '' };
        if (file === 'ss') {
          const listeners = [
            ...(faults.portHolder === undefined ? [] : [`("${faults.portHolder}",pid=77,fd=3)`]),
            ...(running === undefined ? [] : [`("haproxy",pid=${running.pid},fd=3)`]),
          ];
          const stdout = listeners.map((owner) => `LISTEN 0 1 127.0.0.1:292 0.0.0.0:* users:(${owner})\n`).join('');
          return { stdout, stderr: '' };
        }
        if (args[0] === '-c') {
          const words = faults.config(texts.get(args.at(-1) ?? '') ?? '');
          if (words !== undefined) refuse(words);
        } else start();
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

const followedIn = (text: string): string | undefined => / track (\S+)/.exec(text)?.[1];

const withoutBrackets = (address: string): string => address.replace(/^\[(.*)\]$/, '$1');
