import { onTestFinished } from 'vitest';
import type { ListenerKey, NodeName } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { listenerKey } from '../../src/core/traffic/table.ts';
import type { Gate, GatedListener } from '../../src/ports/gate.ts';
import { makeGate } from '../../src/health/gate.ts';
import { type VirtualClock, virtualClock } from '../sim/virtual-clock.ts';
import { type FakeKubeProxy, type KubeProxyPace, makeFakeKubeProxy } from './fake-kube-proxy.ts';
import { addressOf, nodeName } from './table.ts';

export const dns: ListenerKey = listenerKey(addressOf('203.0.113.10'), 53, 'UDP');
export const ntp: ListenerKey = listenerKey(addressOf('203.0.113.10'), 123, 'UDP');
export const dns6: ListenerKey = listenerKey(addressOf('2001:db8::10'), 53, 'UDP');
export const n1: NodeName = nodeName('n1');
export const n2: NodeName = nodeName('n2');

export type GateRig = {
  readonly clock: VirtualClock;
  readonly gate: Gate;
  /** The kube-proxy of the node added last. */
  readonly kubeProxy: () => FakeKubeProxy;
  readonly set: (listeners: readonly GatedEntry[]) => void;
  readonly setUp: (...nodes: readonly NodeName[]) => void;
  /** `n1` is up, with this boot ID. */
  readonly setBooted: (bootId: string | undefined) => void;
  readonly setSilent: (node: NodeName) => void;
  /** Advances until the gate opens `dns` on `n1`; the time of that, or `undefined` if it does not open by `untilMs`. */
  readonly opensAt: (untilMs: number) => Promise<number | undefined>;
};

/** A listener, and since when it is published, `found`: as this host found it. */
export type GatedEntry = readonly [key: ListenerKey, publishedMs: number | undefined, how?: 'found'];

export function gated(listeners: readonly GatedEntry[]): PersistentMap<ListenerKey, GatedListener> {
  return PersistentMap.empty<ListenerKey, GatedListener>().with(
    listeners.map(([key, publishedMs, how]) => [
      key,
      { family: key === dns6 ? 6 : 4, publishedMs, isFoundPublished: how === 'found', widened: undefined },
    ]),
  );
}

/** For a test: a gate that runs, and a kube-proxy per node that has been idle for ten seconds once nodes are set. */
export async function gateRig(pace: Partial<KubeProxyPace> = {}): Promise<GateRig> {
  const clock = virtualClock();
  const made: FakeKubeProxy[] = [];
  const makeKubeProxy = (): FakeKubeProxy => {
    const kubeProxy = spare.pop() ?? fake();
    made.push(kubeProxy);
    return kubeProxy;
  };
  const fake = (): FakeKubeProxy => makeFakeKubeProxy(clock, { lagMs: 5, syncMs: 20, loopMs: 5, listMs: 50, ...pace });
  const spare = [fake(), fake()];
  await clock.advance(10_000);
  const gate = makeGate({ makeKubeProxy, clock });
  const stop = new AbortController();
  const ended = gate.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await ended;
  });
  const address = { address: addressOf('192.0.2.11'), isUp: true };
  return {
    clock,
    gate,
    kubeProxy: () => made.at(-1) as FakeKubeProxy,
    set: (listeners) => gate.setListeners(gated(listeners)),
    setUp: (...nodes) =>
      gate.setNodes(new Map(nodes.map((node) => [node, { bootId: undefined, addresses: [address] }]))),
    setBooted: (bootId) => gate.setNodes(new Map([[n1, { bootId, addresses: [address] }]])),
    setSilent: (node) =>
      gate.setNodes(new Map([[node, { bootId: undefined, addresses: [{ ...address, isUp: false }] }]])),
    opensAt: async (untilMs) => {
      while (!gate.isOpen(dns, n1)) {
        if (clock.monotonic() >= untilMs) return undefined;
        await clock.advance(10);
      }
      return clock.monotonic();
    },
  };
}

/** `dns` is published now, as this host and kube-proxy see it. */
export function publish({ clock, set, kubeProxy }: GateRig): void {
  kubeProxy().change(dns);
  set([[dns, clock.monotonic()]]);
}
