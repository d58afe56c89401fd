import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import type { NodeHealth } from '../../src/core/traffic/report.ts';
import { makeNat } from '../../src/dataplane/nat/nat.ts';
import { natTable } from '../../src/dataplane/nat/ruleset.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import type { Nat } from '../../src/ports/nat.ts';
import { type RecordedLog, recordLog, recordMetrics } from '../sim/observers.ts';
import { type VirtualClock, virtualClock } from '../sim/virtual-clock.ts';
import { type FakeNft, makeFakeNft } from './fake-nft.ts';

/** `nat` on a host in memory: nft, conntrack and the settings of forwarding, in virtual time. */
export type NatMachine = {
  readonly nat: Nat;
  /** Its programs. */
  readonly exec: Exec;
  readonly clock: VirtualClock;
  readonly log: RecordedLog;
  readonly nft: FakeNft;
  /** The programs that fail from now on. */
  readonly broken: Set<'nft' | 'conntrack' | 'forwarding'>;
  /** The questions to conntrack, and the switches of forwarding (`on 1 eth0`: IPv6, and IPv4 on eth0), failed ones included. */
  readonly sweeps: string[];
  readonly switches: string[];
  setHealth(node: string, health: NodeHealth): void;
  /** The interfaces of the host, in any words. */
  setLinks(links: string): void;
};

/** `earlier`: the kernel of an earlier process. */
export function makeNatMachine(earlier?: FakeNft): NatMachine {
  const clock = virtualClock();
  const log = recordLog();
  const changes = makeSubscribers();
  const verdicts = new Map<string, NodeHealth>();
  const broken: NatMachine['broken'] = new Set();
  let links = '';
  const [sweeps, switches]: [string[], string[]] = [[], []];
  const isRefused = (): string | undefined => (broken.has('nft') ? 'Error: Operation not permitted' : undefined);
  const nft = earlier ?? makeFakeNft({ table: natTable, refuse: isRefused });
  const fail = (what: 'conntrack' | 'forwarding'): void => {
    if (broken.has(what)) throw new ExecError('perl', 1, `${what}: Operation not permitted\n`);
  };
  const perl = (args: readonly string[], stdin: string | undefined): string => {
    if (stdin !== undefined) {
      sweeps.push(stdin);
      fail('conntrack');
      return '0';
    }
    if (args[0] === '-ne') return '1\n262144\n'; // conntrack
    const [, , what, ...rest] = args;
    if (rest[0] === 'furiwake-nat') return '0\n0\n'; // clients with affinity
    if (what !== 'read') switches.push([what, ...rest].join(' '));
    fail('forwarding');
    return what === 'read' ? 'all4 0\nall6 0\nlink 0 eth0\n' : '';
  };
  const exec: Exec = {
    run: async (file, args, options) => {
      if (file !== 'perl') return await nft.exec.run(file, args, options);
      options.signal.throwIfAborted();
      return { stdout: perl(args, options.stdin), stderr: '' };
    },
    spawn: (file, args, signal) => (file === 'perl' ? watchNothing(signal) : nft.exec.spawn(file, args, signal)),
  };
  return {
    nat: makeNat({
      exec,
      health: {
        verdicts: () => new Map(Array.from(verdicts, ([name, state]) => [name as never, { 4: state, 6: state }])),
        subscribe: changes.subscribe,
      },
      silentSince: () => undefined,
      silenceMs: 15_000,
      own: () => new Map(),
      links: () => links,
      clock,
      log,
      metrics: recordMetrics(),
      lifetime: new AbortController().signal,
    }),
    exec,
    clock,
    log,
    nft,
    broken,
    sweeps,
    switches,
    setLinks: (text) => {
      links = text;
    },
    setHealth: (name, health) => {
      verdicts.set(name, health);
      changes.tell();
    },
  };
}

/** A watch of the kernel that reports no change. */
function watchNothing(signal: AbortSignal): ReturnType<Exec['spawn']> {
  const output = new PassThrough();
  const exited = Promise.withResolvers<number>();
  const end = (): void => {
    output.end();
    exited.resolve(0);
  };
  signal.addEventListener('abort', end, { once: true });
  return {
    pid: 2,
    write: async () => undefined,
    lines: createInterface({ input: output }),
    takeErrors: async () => '',
    exited: exited.promise,
    [Symbol.asyncDispose]: async () => end(),
  };
}
