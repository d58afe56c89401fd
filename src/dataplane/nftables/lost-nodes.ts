import type { Alarm } from '../../async/alarm.ts';
import type { Family } from '../../core/ip/ip.ts';
import type { NodeName } from '../../core/model/names.ts';
import type { Clock } from '../../ports/clock.ts';

/**
 * Whether a node has been silent for so long that it loses the flows that it has; it gets no new ones before. For one that is silent for a
 * shorter time, `alarm` rings when it does.
 */
export function makeLostNodes(deps: {
  /** Since when a node is silent, monotonic ms; `undefined`: it is not. */
  readonly silentSince: (node: NodeName, family: Family) => number | undefined;
  readonly silenceMs: number;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly alarm: Pick<Alarm, 'setAt'>;
}): (node: NodeName, family: Family) => boolean {
  const { silentSince, silenceMs, clock, alarm } = deps;
  return (node, family) => {
    const since = silentSince(node, family);
    if (since === undefined) return false;
    const isOver = clock.monotonic() - since >= silenceMs;
    if (!isOver) alarm.setAt(since + silenceMs);
    return isOver;
  };
}
