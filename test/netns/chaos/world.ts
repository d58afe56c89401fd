import type { SimApiServer } from '../../sim/apiserver.ts';
import { shownIps } from '../../sim/shown-status.ts';
import { type ChaosCluster, type Protocol, serviceNames, type Wish } from './cluster.ts';
import type { FuriwakeProcess } from './furiwake-process.ts';
import type { Box, ChaosLab } from './lab.ts';
import { slowness } from './slowness.ts';

/** What the faults and the clients share. */
export type World = {
  readonly lab: ChaosLab;
  readonly server: SimApiServer;
  readonly cluster: ChaosCluster;
  readonly hosts: readonly { readonly box: Box; readonly furiwake: FuriwakeProcess }[];
  /** Services get the address of the host, instead of those of a pool. */
  readonly isOwn: boolean;
  /**
   * An action that may break connections of a Service, of `all`, or of all that HAProxy does not certainly serve (`others`), or only remove
   * addresses (`addresses`).
   */
  touch(whom: string, what: string): void;
  /** The last action that may have taken the address of a Service, or broken its connections, in this much sighted time. */
  touchedWithin(service: string, withinMs: number, what: 'address' | 'connection'): string | undefined;
  /** While furiwake cannot see the cluster this stands still. */
  sightedMs(): number;
  isSighted(): boolean;
  /** furiwake does not see the cluster until this is disposed of. */
  blind(): Disposable;
  /** Until then an action may have broken what only an audit sees. */
  allow(forMs: number): void;
  isAllowed(): boolean;
  isReady(): Promise<boolean>;
  /** The addresses in the statuses of Services. */
  shownAddresses(): readonly string[];
  expects(target: { readonly service: string; readonly protocol: Protocol; readonly ip: string }): 'served' | 'refused';
  /** Whether the source ranges of the Service permit the client. */
  permits(target: { readonly service: string; readonly ip: string }): boolean;
  tell(words: string): void;
  /** What must never be so. */
  wrong(words: string): void;
  readonly wrongs: readonly string[];
  shownTime(): string;
};

/** The source ranges. */
function isPermitted(wish: Wish | undefined, ip: string): boolean {
  const ranges = wish?.ranges;
  return ranges === undefined || (!ip.includes(':') && ranges.some((range) => range.startsWith('198.51.100.')));
}

export function makeWorld(
  parts: Pick<World, 'lab' | 'server' | 'cluster' | 'hosts' | 'isOwn'>,
  tell: (words: string) => void,
): World {
  const startMs = performance.now();
  const touches: { readonly atMs: number; readonly whom: string; readonly what: string }[] = [];
  const wrongs: string[] = [];
  let blinds = 0;
  let blindMs = 0;
  let blindSinceMs = 0;
  /** After sight is back, it lasts until all is known. */
  let sightedAgainMs = 0;
  const isBlind = (): boolean => blinds > 0;
  const sightedMs = (): number =>
    Math.round(performance.now() - blindMs - (isBlind() ? performance.now() - blindSinceMs : 0));
  let allowedUntilMs = 0;
  let ready = { atMs: -Infinity, is: Promise.resolve(false) };
  const shownTime = (): string => `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
  return {
    ...parts,
    touch: (whom, what) => void touches.push({ atMs: sightedMs(), whom, what }),
    touchedWithin: (service, withinMs, what) => {
      const isProxied = what === 'connection' && parts.cluster.wishes.get(service)?.dataplane === 'haproxy';
      const isOf = (whom: string): boolean =>
        [service, 'all', ...(isProxied ? [] : ['others']), ...(what === 'address' ? ['addresses'] : [])].includes(whom);
      const sinceMs = sightedMs() - withinMs * slowness(5);
      return touches.findLast(({ atMs, whom }) => atMs >= sinceMs && isOf(whom))?.what;
    },
    sightedMs,
    isSighted: () => !isBlind() && performance.now() > sightedAgainMs,
    blind: () => {
      if (blinds++ === 0) blindSinceMs = performance.now();
      let isOver = false;
      return {
        [Symbol.dispose]: () => {
          if (isOver) return;
          isOver = true;
          if (--blinds > 0) return;
          blindMs += performance.now() - blindSinceMs;
          sightedAgainMs = performance.now() + 5_000;
        },
      };
    },
    allow: (forMs) => {
      allowedUntilMs = Math.max(allowedUntilMs, performance.now() + forMs * slowness(2));
    },
    isAllowed: () => performance.now() < allowedUntilMs,
    shownAddresses: () => serviceNames.flatMap((name) => shownIps(parts.server, `default/${name}`)),
    isReady: () => {
      if (performance.now() - ready.atMs > 900) {
        const is = Promise.all(parts.hosts.map(({ furiwake }) => furiwake.status())).then((all) =>
          all.some((status) => status?.notReady.length === 0),
        );
        ready = { atMs: performance.now(), is };
      }
      return ready.is;
    },
    permits: ({ service, ip }) => isPermitted(parts.cluster.wishes.get(service), ip),
    expects: ({ service, ip }) => {
      const { cluster } = parts;
      const wish = cluster.wishes.get(service);
      if (
        wish === undefined ||
        wish.isClusterIp === true ||
        wish.endpoints.length === 0 ||
        cluster.drained.has(service)
      )
        return 'refused';
      return isPermitted(wish, ip) ? 'served' : 'refused';
    },
    tell: (words) => tell(`${shownTime()} ${words}`),
    wrong: (words) => {
      if (!wrongs.some((other) => other.includes(words.slice(0, 40)))) wrongs.push(`${shownTime()} ${words}`);
      tell(`${shownTime()} WRONG ${words}`);
    },
    wrongs,
    shownTime,
  };
}
