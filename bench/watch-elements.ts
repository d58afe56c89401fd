import type { Exec } from '../src/ports/exec.ts';
import { unlessAborted } from '../src/async/abort.ts';
import { now } from './hosts/services.ts';

/** Elements that are added, as reported by the kernel. */
export type Elements = AsyncDisposable & {
  /** Resolves with the time (ms) of the next line of `nft monitor` that matches. */
  readonly added: (pattern: RegExp) => Promise<number>;
  /** Whether any element was seen: before that, it may still be starting. */
  readonly isFollowing: () => boolean;
};

const deadlineMs = 30_000;

/** A listener with this port, in a table of any dataplane. */
export function listenerAt(port: number): RegExp {
  return new RegExp(String.raw`^add element \S+ \S+ listeners4 \{ (?:\S+ \. )+${port} : `);
}

/** Follows `nft monitor`, which starts within some milliseconds. */
export function watchElements(exec: Exec, signal: AbortSignal): Elements {
  const monitor = exec.spawn('nft', ['monitor', 'elements'], signal);
  let isFollowing = false;
  const waiting = new Map<RegExp, (at: number) => void>();
  const follow = async (): Promise<void> => {
    for await (const line of monitor.lines) {
      isFollowing ||= line.startsWith('add element ');
      for (const [pattern, resolve] of waiting) {
        if (!pattern.test(line)) continue;
        waiting.delete(pattern);
        resolve(now());
      }
    }
  };
  void follow();
  return {
    added: (pattern) => {
      const { promise, resolve } = Promise.withResolvers<number>();
      waiting.set(pattern, resolve);
      const added = unlessAborted(promise, AbortSignal.timeout(deadlineMs));
      added.catch(() => undefined); // awaited after the change, which may take longer
      return added;
    },
    isFollowing: () => isFollowing,
    [Symbol.asyncDispose]: () => monitor[Symbol.asyncDispose](),
  };
}
