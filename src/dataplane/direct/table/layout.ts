import { formatRange } from '../../../core/ip/range.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { type ListenerAddress, stackDataplane } from '../../../core/traffic/table.ts';
import { absentFrom, addressText, classText, type Element, portText, protocolNumbers } from '../../nftables/element.ts';
import type { Layout } from '../../nftables/mirror.ts';
import { rangeListOf } from '../../nftables/range-lists.ts';
import type { MovedSlot } from './moved-slots.ts';
import type { DirectProgram, SlotGroup } from './program.ts';
import { clientChain } from './client-chains.ts';
import { smallSlotCount } from './rule-parts.ts';
import { straightChain } from './straight-chains.ts';
import { nothingShared } from '../stand-ins.ts';

/*
 * The elements of table `netdev furiwake`:
 *
 *   192.0.2.51|53|UDP → n1, n2            listeners4   192.0.2.51 . udp . 53 : 0:1       the number of the listener
 *                                         carried4     192.0.2.51 . 17 . 53 : 0:1        the same, for ICMP errors
 *                                         open, flows  0:1                               the kernel counts here; `refused` as well
 *                                         straight     0:1 : goto straight4              while no stand-in has flows of it
 *                                         groups       0:1 : 0:7                         the number of its nodes' group
 *   … with affinity, for 10 minutes         affine       0:1
 *                                         timeouts     0:1 : jump client4for600
 *   … that may keep no pins to other nodes  checked    0:1
 *                                         keepers      0:1 . 26, 0:1 . 27
 *   … that the stack has flows of, too    mixed        0:1
 *   … with a client that is the stack's   held4        0:1 . 198.51.100.2 . 51234
 *   … with clients that are not known     unsorted     0:1
 *   … that waits for its first node       waiting      0:1                               the kernel removes it after six seconds
 *   … that another Service had            handed        0:1                               … after a minute
 *   … that another host may have served   inherited    0:1                               … after ten seconds
 *   … that leaves nodes                   parting      0:1                               … after three seconds
 *   192.0.2.0/24                          ranges       0:1 : 1                           the number of its ranges
 *                                         sources4     1 . 192.0.2.0-192.0.2.255
 *   group n1, n2                          slots        0:7 . 0 : 26, 0:7 . 1 : 27 …
 *                                         small        0:7                               it has 127 slots, not 1,021
 *   … that had another node               moved        0:7 . 1 : 26                      the kernel removes it after three seconds
 *   … which were shown to serve it        shown        0:7 . 26, 0:7 . 27                only furiwake reads it, at its next start
 *   n1 192.0.2.11 on eth0                 gateways4    26 : 192.0.2.11
 *                                         links        26 : "eth0"
 *   … and no client                       impossible4  192.0.2.11, 10.244.0.0-10.244.0.255 its Pods
 */
export const directLayout: Layout<DirectProgram> = {
  empty: {
    listeners: PersistentMap.empty(),
    ids: PersistentMap.empty(),
    groups: PersistentMap.empty(),
    keepers: PersistentMap.empty(),
    shared: nothingShared,
    waiting: new Set(),
    handed: new Set(),
    inherited: new Set(),
    parting: new Map(),
    moved: [],
    slots: PersistentMap.empty(),
    hops: new Map(),
    nodeMacs: new Set(),
    impossible: [],
  },
  elementsOf: ({ ids, groups, keepers, shared, waiting, handed, inherited, parting }, listener) => {
    const { address, isAffine, affinitySeconds, key, port, protocol, sourceRanges } = listener;
    const isWaiting = waiting.has(key);
    const isInherited = inherited.has(key);
    const isUnsorted = isWaiting || isInherited || shared.unsorted.has(key);
    const held = shared.held.get(key) ?? [];
    const group = groups.get(key);
    const isAlone = group === undefined && !isUnsorted;
    if (isAlone && stackDataplane(listener) !== undefined) return []; // the stand-in serves it alone
    const { family } = address;
    const id = classText(ids.get(key) ?? 0);
    const carried = `${addressText(address)} . ${protocolNumbers[protocol]} . ${portText(port)}`;
    const elements: Element[] = [
      listenerElement(listener, ids.get(key) ?? 0),
      { set: `carried${family}`, text: `${carried} : ${id}` },
    ];
    if (isAffine)
      elements.push(
        { set: 'affine', text: id },
        { set: 'timeouts', text: `${id} : jump ${clientChain(family, affinitySeconds)}` },
      );
    if (isWaiting) elements.push({ set: 'waiting', text: id });
    if (isInherited) elements.push({ set: 'inherited', text: id });
    const marks = keepers.get(key);
    if (marks !== undefined) elements.push({ set: 'checked', text: id });
    for (const mark of marks ?? []) elements.push({ set: 'keepers', text: `${id} . ${mark}` });
    if (isUnsorted) elements.push({ set: 'unsorted', text: id });
    if (isUnsorted || held.length > 0) elements.push({ set: 'mixed', text: id });
    for (const client of held)
      elements.push({
        set: `held${family}`,
        text: `${id} . ${addressText(client.address)} . ${portText(client.port)}`,
      });
    if (handed.has(key)) elements.push({ set: 'handed', text: id });
    const left = isUnsorted && group === undefined ? parting.get(key) : undefined;
    if (left !== undefined) elements.push({ set: 'parting', text: id });
    const used = group ?? left;
    if (used !== undefined) elements.push({ set: 'groups', text: `${id} : ${classText(used.id)}` });
    if (group !== undefined) elements.push({ set: 'open', text: id }, { set: 'flows', text: id });
    if (group !== undefined && !isUnsorted && held.length === 0) {
      const chain = straightChain(family, { hasRanges: sourceRanges !== undefined, isChecked: marks !== undefined });
      elements.push({ set: 'straight', text: `${id} : goto ${chain}` });
    }
    if (sourceRanges === undefined) return elements;
    elements.push({ set: 'refused', text: id }, { set: 'ranges', text: id, list: rangeListOf(listener, 'mark') });
    return elements;
  },
  mayDiffer: (before, after) => {
    const keys = new Set([
      ...PersistentMap.changedKeys(before.groups, after.groups).filter(
        (key) => before.groups.get(key)?.id !== after.groups.get(key)?.id,
      ),
      ...PersistentMap.changedKeys(before.keepers, after.keepers),
      ...PersistentMap.changedKeys(before.shared.unsorted, after.shared.unsorted),
      ...PersistentMap.changedKeys(before.shared.held, after.shared.held),
    ]);
    for (const state of ['waiting', 'handed', 'inherited', 'parting'] as const)
      for (const key of [...before[state].keys(), ...after[state].keys()])
        if (before[state].has(key) !== after[state].has(key)) keys.add(key);
    return keys;
  },
  rest: (program) => restBeside(program, undefined),
  restChange: (before, after) => {
    const [old, now] = [restBeside(before, after), restBeside(after, before)];
    return { remove: absentFrom(now, old), add: absentFrom(old, now) };
  },
  withRestOf: (target, { slots, moved, hops, nodeMacs, impossible }) => ({
    ...target,
    slots,
    moved,
    hops,
    nodeMacs,
    impossible,
  }),
};

/** The number of a listener. */
export function listenerElement({ address, port, protocol }: ListenerAddress, id: number): Element {
  const where = `${addressText(address)} . ${protocol.toLowerCase()} . ${portText(port)}`;
  return { set: `listeners${address.family}`, text: `${where} : ${classText(id)}` };
}

/** What belongs to no listener, without parts that are the same object in the other program: most of a large table does not change. */
function restBeside(program: DirectProgram, other: DirectProgram | undefined): readonly Element[] {
  const { hops, nodeMacs, impossible, slots, moved } = program;
  const groups = other === undefined ? [...slots.keys()] : PersistentMap.changedKeys(slots, other.slots);
  const otherMoved = new Set(other?.moved);
  return [
    ...(hops === other?.hops ? [] : hopElements(hops)),
    ...(nodeMacs === other?.nodeMacs ? [] : Array.from(nodeMacs, (mac) => ({ set: 'node_macs', text: mac }))),
    ...(impossible === other?.impossible ? [] : sourceElements(impossible)),
    ...groups.flatMap((key) => slotElements(slots.get(key), other?.slots.get(key))),
    // Only of a change: a table that is written again later must not have them.
    ...(other === undefined ? [] : moved.filter((each) => !otherMoved.has(each)).map(movedElement)),
  ];
}

/** Without the slots that have the same node in the other state of the group. */
function slotElements(group: SlotGroup | undefined, other: SlotGroup | undefined): readonly Element[] {
  if (group === undefined) return [];
  const { id, marks, open } = group;
  const others = other?.marks.length === marks.length ? other.marks : [];
  const name = classText(id);
  return [
    ...(marks.length === smallSlotCount ? [{ set: 'small', text: name }] : []),
    ...marks.flatMap((mark, slot) =>
      mark === others[slot] ? [] : [{ set: 'slots', text: `${name} . ${slot} : ${mark}` }],
    ),
    ...open.map((mark) => ({ set: 'shown', text: `${name} . ${mark}` })),
  ];
}

function movedElement({ group, slot, mark }: MovedSlot): Element {
  return { set: 'moved', text: `${classText(group)} . ${slot} : ${mark}` };
}

function sourceElements(ranges: DirectProgram['impossible']): readonly Element[] {
  return ranges.map((range) => ({ set: `impossible${range.family}`, text: formatRange(range) }));
}

function hopElements(hops: DirectProgram['hops']): readonly Element[] {
  const links = new Map(Array.from(hops.values(), ({ mark, link }) => [mark, link]));
  return [
    ...Array.from(hops.values(), ({ mark, address }) => ({
      set: `gateways${address.family}`,
      text: `${mark} : ${addressText(address)}`,
    })),
    ...Array.from(links, ([mark, link]) => ({ set: 'links', text: `${mark} : "${link}"` })),
  ];
}
