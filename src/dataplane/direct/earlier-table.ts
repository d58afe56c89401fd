import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import type { Listener, TrafficTable } from '../../core/traffic/table.ts';
import type { OpenNodes } from '../../ports/gate.ts';
import { elementKey } from '../nftables/element.ts';
import { firstIdOf } from '../nftables/ids.ts';
import { listenerElement } from './table/layout.ts';
import { bootName, nameOf } from './table/program.ts';

/** What the table of an earlier process says about the listeners of this one. */
export type EarlierTable = {
  /** Those that it had, of the same Services: their number says so. Nodes may have flows of them. */
  readonly listeners: readonly Listener[];
  /** The nodes that were shown to serve them, since the boot of which the table of this process is. */
  readonly open: OpenNodes;
};

/** The sets of the table that {@link readEarlierTable} needs. */
export const resumedSets: readonly string[] = ['listeners4', 'listeners6', 'groups', 'shown'];

/** `elements`: of these sets, as `elementKey` writes them. */
export function readEarlierTable(elements: ReadonlySet<string>, { listeners, nodes }: TrafficTable): EarlierTable {
  const names = new Map(Array.from(nodes.values(), (node) => [String(firstIdOf(bootName(node))), node.name]));
  /** By the number of a group. */
  const shown = new Map<string, Set<NodeName>>();
  /** The number of the group, by that of the listener. */
  const groups = new Map<string, string>();
  for (const element of elements) {
    const [set, id = '', , value = ''] = element.split(' ');
    const name = set === 'shown' ? names.get(value) : undefined;
    if (set === 'groups') groups.set(id, value);
    else if (name !== undefined) shown.set(id, (shown.get(id) ?? new Set()).add(name));
  }
  const known: Listener[] = [];
  const open = new Map<ListenerKey, ReadonlySet<NodeName>>();
  for (const listener of listeners.values()) {
    const element = listenerElement(listener, firstIdOf(nameOf(listener)));
    if (!elements.has(elementKey(element))) continue;
    known.push(listener);
    const nodesOfGroup = shown.get(groups.get(element.text.split(' : ')[1] ?? '') ?? '');
    if (nodesOfGroup !== undefined) open.set(listener.key, nodesOfGroup);
  }
  return { listeners: known, open };
}
