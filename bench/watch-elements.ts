import type { Exec } from '../src/ports/exec.ts';
import { unlessAborted } from '../src/async/abort.ts';
import { now } from './hosts/services.ts';

/** New listeners, as reported by the kernel. */
export type Elements = AsyncDisposable & {
  /** Resolves with the time (ms) at which a listener with this port was first seen; each port only once. */
  readonly addedAt: (port: number) => Promise<number>;
  /** Whether any element was seen: before that, it may still be starting. */
  readonly isFollowing: () => boolean;
};

const deadlineMs = 5_000;

/** Follows `nft monitor`, which starts within some milliseconds. */
export function watchElements(exec: Exec, signal: AbortSignal): Elements {
  const monitor = exec.spawn('nft', ['monitor', 'elements'], signal);
  let isFollowing = false;
  const moments = new Map<number, PromiseWithResolvers<number>>();
  const momentOf = (port: number): PromiseWithResolvers<number> => {
    const moment = moments.get(port) ?? Promise.withResolvers<number>();
    moments.set(port, moment);
    return moment;
  };
  const follow = async (): Promise<void> => {
    for await (const line of monitor.lines) {
      const port = /^add element inet furiwake listeners4 \{ \S+ \. (\d+) : /.exec(line)?.[1];
      if (port === undefined) continue;
      isFollowing = true;
      momentOf(Number(port)).resolve(now());
    }
  };
  void follow();
  return {
    addedAt: (port) => unlessAborted(momentOf(port).promise, AbortSignal.timeout(deadlineMs)),
    isFollowing: () => isFollowing,
    [Symbol.asyncDispose]: () => monitor[Symbol.asyncDispose](),
  };
}
