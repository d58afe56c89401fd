import type { Clock } from '../ports/clock.ts';
import type { WatchHealth } from './watch-health.ts';

const [judgeEveryMs, outdatedMs] = [1_000, 5_000];

/**
 * Whether the known endpoints are those of now, by the health of the watches. While nothing changes because the whole API server is
 * away, the endpoints are as they were. If their watch alone fails for 5 s, they are outdated: Pods and Services are created and deleted.
 * One that was accepted is waited for: after a restart of the API server the watches return one after the other.
 *
 * Call the returned function at each error of the watch of EndpointSlices. From then on, `setCurrent` is called every second
 * until that watch works again; all errors until then count as one.
 */
export function makeEndpointsCurrent({
  health: { endpointslices, services },
  setCurrent,
  clock,
}: {
  readonly health: Readonly<Record<'endpointslices' | 'services', Pick<WatchHealth, 'failure' | 'isAccepted'>>>;
  readonly setCurrent: (areCurrent: boolean) => void;
  readonly clock: Clock;
}): (signal: AbortSignal) => void {
  let isJudging = false;
  const judge = async (signal: AbortSignal): Promise<void> => {
    let aloneMs = 0;
    while (endpointslices.failure() !== undefined) {
      await clock.sleep(judgeEveryMs, signal);
      const isAlone = endpointslices.failure() !== undefined && services.failure() === undefined;
      if (isAlone && endpointslices.isAccepted()) continue;
      aloneMs = isAlone ? aloneMs + judgeEveryMs : 0;
      setCurrent(aloneMs < outdatedMs);
    }
    setCurrent(true); // it may work since the last second
  };
  return (signal) => {
    if (isJudging) return;
    isJudging = true;
    void judge(signal)
      .catch(() => undefined) // aborted
      .finally(() => (isJudging = false));
  };
}
