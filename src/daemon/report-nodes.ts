import { untilAborted } from '../async/abort.ts';
import type { Node } from '../core/model/node.ts';
import type { EventSender } from '../kube/events.ts';
import type { Store } from '../kube/store.ts';
import { reasons } from '../core/reasons.ts';

/** Records an event on each node that gets no connections because it has no address; until `signal` aborts. */
export async function reportNodes(nodes: Store<Node>, events: EventSender, signal: AbortSignal): Promise<void> {
  const look = (names: Iterable<string>): void => {
    for (const name of names) {
      const node = nodes.objects().get(name);
      if (node === undefined || node.addresses.length > 0) continue;
      events.record({
        regarding: { apiVersion: 'v1', kind: 'Node', name: node.name, uid: node.name },
        type: 'Warning',
        reason: 'NodeWithoutAddress',
        action: 'Sync',
        note: reasons.NodeWithoutAddress.means,
      });
    }
  };
  const unsubscribe = nodes.subscribe(look);
  await untilAborted(signal);
  unsubscribe();
}
