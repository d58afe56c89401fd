import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FakeKubeProxy, type KubeProxyPace, makeFakeKubeProxy } from '../../test/make/fake-kube-proxy.ts';
import { addressOf, nodeName } from '../../test/make/table.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { ListenerKey, NodeName } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { listenerKey } from '../core/traffic/table.ts';
import type { Gate, GatedListener } from '../ports/gate.ts';
import { makeGate } from './gate.ts';

/** An event, and how long after it the next one follows. */
type GateStep = { readonly afterMs: number } & (
  | { readonly event: 'publish'; readonly listener: number; readonly lagMs: number }
  | { readonly event: 'withdraw'; readonly listener: number }
  | { readonly event: 'other change' | 'failed request'; readonly node: number }
  | { readonly event: 'restart' | 'reboot' | 'cut'; readonly node: number; readonly forMs: number }
  | { readonly event: 'restart of furiwake' | 'reboot of this host'; readonly forMs: number }
);

const upTo = (ms: number): fc.Arbitrary<number> => fc.oneof(fc.nat(Math.min(ms, 300)), fc.nat(ms));
const node = fc.nat(1);
const afterMs = upTo(8_000);
const listener = fc.nat(2);
const anyStep: fc.Arbitrary<GateStep> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ event: fc.constant('publish' as const), listener, lagMs: fc.nat(200), afterMs }),
  },
  fc.record({ event: fc.constant('withdraw' as const), listener, afterMs }),
  { weight: 4, arbitrary: fc.record({ event: fc.constant('other change' as const), node, afterMs }) },
  fc.record({ event: fc.constant('failed request' as const), node, afterMs }),
  fc.record({ event: fc.constant('restart' as const), node, forMs: upTo(4_000), afterMs }),
  fc.record({ event: fc.constant('reboot' as const), node, forMs: upTo(20_000), afterMs }),
  fc.record({ event: fc.constant('cut' as const), node, forMs: upTo(90_000), afterMs }),
  fc.record({
    event: fc.constantFrom('restart of furiwake' as const, 'reboot of this host' as const),
    forMs: upTo(30_000),
    afterMs,
  }),
);
const anyPace: fc.Arbitrary<KubeProxyPace> = fc.record({
  lagMs: fc.nat(200),
  syncMs: fc.integer({ min: 1, max: 480 }),
  loopMs: fc.nat(20),
  listMs: fc.nat(4_000),
});

const listeners = [53, 123, 443].map((port) => listenerKey(addressOf('203.0.113.10'), port, 'UDP'));
const names = [nodeName('n1'), nodeName('n2')];

/** The first packet that would be routed back, or `undefined`. */
async function firstEarlyPacket(
  paces: readonly KubeProxyPace[],
  steps: readonly GateStep[],
): Promise<string | undefined> {
  const clock = virtualClock();
  const { signal: forever } = new AbortController();
  let stop = new AbortController();
  const kubeProxies = paces.map((pace) => makeFakeKubeProxy(clock, pace));
  const newGate = (): Gate => {
    const spare = [...kubeProxies];
    return makeGate({ makeKubeProxy: () => spare.shift() as FakeKubeProxy, clock });
  };
  let gate: Gate | undefined;
  let ended: Promise<void> | undefined;
  const published = new Map<ListenerKey, GatedListener>();
  const silent = new Set<number>();
  const down = new Set<number>();
  /** The boots of each node, as the API server has them, and as the last process of furiwake saved them. */
  const boots = names.map(() => 0);
  let savedBoots = [...boots];
  /** As the table in the kernel says it at the next start. */
  const inKernel = new Map<ListenerKey, ReadonlySet<NodeName>>();
  let early: string | undefined;

  const look = (): void => {
    for (const [index, kubeProxy] of kubeProxies.entries())
      for (const key of listeners)
        if (!down.has(index) && gate?.isOpen(key, names[index] ?? nodeName('')) && !kubeProxy.isSafe(key))
          early ??= `${key} to n${index + 1} at ${clock.monotonic()} ms`;
  };
  const setNodes = (known = boots): void =>
    gate?.setNodes(
      new Map(
        names.map((name, index) => [
          name,
          {
            bootId: String(known[index]),
            addresses: [{ address: addressOf('192.0.2.11'), isUp: !silent.has(index) }],
          },
        ]),
      ),
    );
  const setListeners = (): void =>
    gate?.setListeners(PersistentMap.empty<ListenerKey, GatedListener>().with([...published]));
  /** A node that does not answer is reported silent before it answers again. */
  const silence = async (index: number, work: () => Promise<unknown>): Promise<void> => {
    if (silent.has(index)) return;
    silent.add(index);
    setNodes();
    await work();
    await clock.sleep(100, forever);
    silent.delete(index);
    setNodes();
  };
  const wanted = new Map<ListenerKey, object>();
  const publish = async (key: ListenerKey, lagMs: number): Promise<void> => {
    if (wanted.has(key)) return;
    const mine = {};
    wanted.set(key, mine);
    published.set(key, { family: 4, publishedMs: undefined, isFoundPublished: false, widened: undefined });
    setListeners();
    for (const kubeProxy of kubeProxies) kubeProxy.change(key);
    await clock.sleep(lagMs, forever);
    if (wanted.get(key) !== mine) return; // withdrawn meanwhile
    published.set(key, { family: 4, publishedMs: clock.monotonic(), isFoundPublished: false, widened: undefined });
    setListeners();
  };
  const withdraw = (key: ListenerKey): void => {
    wanted.delete(key);
    published.delete(key);
    inKernel.delete(key);
    setListeners(); // before the status changes
    for (const kubeProxy of kubeProxies) kubeProxy.change(key, false);
  };
  const start = (): void => {
    gate = newGate();
    gate.resume(inKernel);
    setListeners();
    setNodes(savedBoots);
    setNodes();
    gate.subscribe(look);
    stop = new AbortController();
    ended = gate.run(stop.signal);
    look();
  };
  const restart = async (keepsTable: boolean, forMs: number): Promise<void> => {
    const open = gate;
    if (open === undefined) return;
    for (const key of listeners)
      inKernel.set(key, new Set(names.filter((name) => keepsTable && open.isOpen(key, name))));
    gate = undefined;
    savedBoots = [...boots];
    stop.abort();
    await ended;
    await clock.sleep(forMs, forever);
    for (const [key, { publishedMs }] of published)
      if (publishedMs !== undefined)
        published.set(key, { family: 4, publishedMs: clock.monotonic(), isFoundPublished: true, widened: undefined });
    start();
  };
  const take = async (step: GateStep): Promise<void> => {
    if ('listener' in step) {
      const key = listeners[step.listener] as ListenerKey;
      if (step.event === 'publish') await publish(key, step.lagMs);
      else withdraw(key);
      return;
    }
    if (!('node' in step)) {
      await restart(step.event === 'restart of furiwake', step.forMs);
      return;
    }
    const kubeProxy = kubeProxies[step.node] as FakeKubeProxy;
    if (!('forMs' in step)) {
      if (step.event === 'other change') kubeProxy.change();
      else kubeProxy.close();
    } else if (step.event === 'restart') await kubeProxy.restart(200 + step.forMs);
    else if (step.event === 'cut')
      await silence(step.node, async () => {
        kubeProxy.setCut(true);
        await clock.sleep(step.forMs, forever);
        kubeProxy.setCut(false);
      });
    else
      await silence(step.node, async () => {
        down.add(step.node);
        await kubeProxy.reboot(2_000 + step.forMs);
        down.delete(step.node);
        boots[step.node] = (boots[step.node] ?? 0) + 1;
      });
  };

  start();
  for (const step of steps) {
    void take(step);
    for (let leftMs = step.afterMs; leftMs >= 0; leftMs -= 100) {
      await clock.advance(Math.min(100, leftMs));
      look();
    }
  }
  await clock.advance(170_000); // all cuts have ended for more than a minute
  look();
  const kept = listeners.filter((key) => published.get(key)?.publishedMs !== undefined);
  for (const [index, name] of names.entries())
    if (!silent.has(index))
      for (const key of kept) if (gate?.isOpen(key, name) !== true) early ??= `${key} to ${name} is still closed`;
  stop.abort();
  await ended;
  return early;
}

test('no packet is sent to a node before its kube-proxy serves the listener, whatever syncs, restarts and fails; later all are', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(anyPace, anyPace),
      fc.array(anyStep, { minLength: 1, maxLength: 12 }),
      async (paces, steps) => {
        expect(await firstEarlyPacket(paces, steps)).toBeUndefined();
      },
    ),
    { numRuns: 300 },
  );
});
