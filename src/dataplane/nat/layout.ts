import type { Ip } from '../../core/ip/ip.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { addressText, classText, type Element, elementKey, portText } from '../nftables/element.ts';
import { ownedRangeListOf } from '../nftables/elements.ts';
import { isHostBackend } from '../../core/traffic/host-pods.ts';
import { type Listener, usesNat } from '../../core/traffic/table.ts';
import type { Layout } from '../nftables/mirror.ts';
import { noGuard } from './forwarding.ts';
import { podsChain } from './host-chains.ts';
import { keepChain } from './ruleset.ts';
import type { NatGroup, NatProgram } from './program.ts';

/*
 * The elements of table `inet furiwake-nat`:
 *
 *   192.0.2.51|53|UDP → nodes4, 30053     listeners4   192.0.2.51 . udp . 53 : 0:1        the number of its backend
 *                                         ports4       192.0.2.51 . udp . 53 : 30053
 *                                         opened4      192.0.2.51 . udp . 53            (counts flows)
 *                                         requests4    192.0.2.51 . udp . 53 . 30053    (counts) their packets pass
 *                                         answers4     192.0.2.51 . udp . 53 . 30053    (counts)
 *   … that drains or has no endpoint     listeners4   192.0.2.51 . udp . 53 : 0:0        no backend: new flows are refused
 *   its clients keep their nodes          affine4      192.0.2.51 . udp . 53
 *   for 10 minutes after their last flow  timeouts4    192.0.2.51 . udp . 53 : jump keep4for600
 *                                         pairs4       192.0.2.51 . udp . 53 . 192.0.2.11 : 0:5   the number of n1 for them
 *                                         keepers4     0:5 : 192.0.2.11
 *   192.0.2.0/24                          refused4     192.0.2.51 . udp . 53            (counts)
 *                                         ranges4      192.0.2.51 . udp . 53 : 0:1      the number of its ranges
 *                                         sources4     0:1 . 192.0.2.0-192.0.2.255
 *   … of direct, for the host itself       hosted4      192.0.2.51 . udp . 53 : jump pods4of2
 *                                         pods4        192.0.2.51 . udp . 53 . 0 : 10.244.1.8, 192.0.2.51 . udp . 53 . 1 : …
 *                                         ports4, requests4, answers4, ranges4 …   without nodes
 *   … that another dataplane has now       requests4, answers4, ranges4 …                      its connections continue
 *   nodes4 → n1, n2                       groups       0:1 : 0:7                          the number of its group of nodes
 *   group n1, n2                          slots4       0:7 . 0 : 192.0.2.11, 0:7 . 1 : 192.0.2.12 …
 *   forwarding switched on for            guarded4     "eth0"                             IPv4 packets that arrive there
 *                                         guarded6     ipv6                               all of IPv6
 */
export const natLayout: Layout<NatProgram> = {
  empty: {
    listeners: PersistentMap.empty(),
    former: new Set(),
    serverless: new Set(),
    numberOf: () => 0,
    groups: new Map(),
    keepers: PersistentMap.empty(),
    hosted: PersistentMap.empty(),
    hasHosted: false,
    own: new Map(),
    guard: noGuard,
  },
  elementsOf: ({ former, serverless, numberOf, keepers, hosted, own }, listener) => {
    const { address, backend, key, sourceRanges, targetPort } = listener;
    if (!usesNat(listener)) return [];
    const { family } = address;
    const where = whereText(listener);
    const through = throughText(listener);
    const isFormer = former.has(key);
    const isRefused = listener.isDraining || serverless.has(key);
    const backendNumber = isRefused ? noBackend : numberOf(backend);
    const elements: Element[] = [
      { set: `requests${family}`, text: through },
      { set: `answers${family}`, text: through },
    ];
    const isForHost = isHostBackend(backend);
    if (isForHost) elements.push(...hostElements(listener, hosted.get(key) ?? []));
    else if (!isFormer)
      elements.push(
        { set: `listeners${family}`, text: `${where} : ${classText(backendNumber)}` },
        { set: `ports${family}`, text: `${where} : ${portText(targetPort)}` },
        { set: `opened${family}`, text: where },
      );
    if (listener.isAffine && !isRefused && !isFormer && !isForHost) {
      elements.push(
        { set: `affine${family}`, text: where },
        { set: `timeouts${family}`, text: `${where} : jump ${keepChain(family, listener.affinitySeconds)}` },
      );
      for (const { address: node, number } of keepers.get(key) ?? [])
        elements.push(
          { set: `pairs${family}`, text: `${where} . ${addressText(node)} : ${classText(number)}` },
          { set: `keepers${family}`, text: `${classText(number)} : ${addressText(node)}` },
        );
    }
    if (sourceRanges !== undefined)
      elements.push(
        { set: `refused${family}`, text: where },
        { set: `ranges${family}`, text: where, list: ownedRangeListOf(listener, own) },
      );
    return elements;
  },
  // A change of the own addresses may concern every restricted listener.
  mayDiffer: (before, after) => {
    const { own, keepers, hosted } = after;
    const restricted = before.own === own ? [] : [...after.listeners.values()].filter((each) => each.sourceRanges);
    const differing = (a: ReadonlySet<ListenerKey>, b: ReadonlySet<ListenerKey>): readonly ListenerKey[] =>
      a === b ? [] : [...a, ...b].filter((key) => a.has(key) !== b.has(key));
    return [
      ...PersistentMap.changedKeys(before.keepers, keepers),
      ...PersistentMap.changedKeys(before.hosted, hosted),
      ...restricted.map(({ key }) => key),
      ...differing(before.former, after.former),
      ...differing(before.serverless, after.serverless),
    ];
  },
  rest: (program) => [...commonElements(program), ...[...slotsOf(program)].flatMap(slotElements)],
  restChange: (before, after) => {
    const common = { old: commonElements(before), now: commonElements(after) };
    const keys = { old: new Set(common.old.map(elementKey)), now: new Set(common.now.map(elementKey)) };
    const slots = { old: slotsOf(before), now: slotsOf(after) };
    return {
      remove: [
        ...common.old.filter((element) => !keys.now.has(elementKey(element))),
        ...[...slots.old].filter((group) => !slots.now.has(group)).flatMap(slotElements),
      ],
      add: [
        ...common.now.filter((element) => !keys.old.has(elementKey(element))),
        ...[...slots.now].filter((group) => !slots.old.has(group)).flatMap(slotElements),
      ],
    };
  },
  withRestOf: (target, { groups, guard }) => ({ ...target, groups, guard }),
};

/** Without Pods the host refuses its connections in front of this table. */
function hostElements(listener: Listener, pods: readonly Ip[]): readonly Element[] {
  if (pods.length === 0) return [];
  const { family } = listener.address;
  const where = whereText(listener);
  return [
    { set: `hosted${family}`, text: `${where} : jump ${podsChain(family, pods.length)}` },
    { set: `ports${family}`, text: `${where} : ${portText(listener.targetPort)}` },
    ...pods.map((pod, index) => ({ set: `pods${family}`, text: `${where} . ${index} : ${addressText(pod)}` })),
  ];
}

/** No backend has this number. */
const noBackend = 0;

/** The key of a listener in most sets. */
function whereText({ address, protocol, port }: Listener): string {
  return `${addressText(address)} . ${protocol.toLowerCase()} . ${portText(port)}`;
}

/** The key of its packets, once they are translated. */
function throughText(listener: Listener): string {
  return `${whereText(listener)} . ${portText(listener.targetPort)}`;
}

/** Each group once. */
function slotsOf({ groups }: NatProgram): ReadonlySet<NatGroup> {
  return new Set(groups.values());
}

function slotElements({ id, family, slots }: NatGroup): readonly Element[] {
  return slots.map((address, slot) => ({
    set: `slots${family}`,
    text: `${classText(id)} . ${slot} : ${addressText(address)}`,
  }));
}

function commonElements({ numberOf, groups, guard }: NatProgram): readonly Element[] {
  return [
    ...Array.from(groups, ([backend, { id }]) => ({
      set: 'groups',
      text: `${classText(numberOf(backend))} : ${classText(id)}`,
    })),
    ...Array.from(guard.links, (link) => ({ set: 'guarded4', text: JSON.stringify(link) })),
    ...(guard.hasIpv6 ? [{ set: 'guarded6', text: 'ipv6' }] : []),
  ];
}
