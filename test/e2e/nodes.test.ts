import { afterEach, describe, expect, test } from 'vitest';
import { web, webOnN1 } from './harness/backends.ts';
import type { Cluster } from './harness/cluster.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fetchMany, urlOf } from './harness/fetch.ts';
import { isRoot, type Stage, useStage } from './harness/stage.ts';
import { startTraffic, type Traffic } from './harness/traffic.ts';

/** Total connections of each node, over IPv4. */
async function totals({ furiwake }: Stage): Promise<Readonly<Record<string, number>>> {
  const { nodes } = await furiwake.status();
  return Object.fromEntries(nodes.filter(({ family }) => family === 4).map(({ node, total }) => [node, total]));
}

/** Current connections of each node, over IPv4. */
async function connections({ furiwake }: Stage): Promise<Readonly<Record<string, number>>> {
  const { nodes } = await furiwake.status();
  return Object.fromEntries(nodes.filter(({ family }) => family === 4).map((each) => [each.node, each.connections]));
}

/** States of the nodes over IPv4, by name; without removed nodes. */
async function states({ furiwake }: Stage): Promise<Readonly<Record<string, string>>> {
  const { nodes } = await furiwake.status();
  return Object.fromEntries(nodes.filter(({ family }) => family === 4).map(({ node, state }) => [node, state]));
}

async function served({ services, client }: Stage, name: string, selector: object = webOnN1): Promise<string> {
  await services.create(name, { spec: { selector } });
  const [ip = ''] = await services.published(name);
  await eventually(async () => expect(await fetchFrom(client, urlOf(ip))).toMatch(/^web/));
  return ip;
}

/** Six held connections, some over each node; `over` has the number for each node. */
async function holdOverBoth(from: Stage, ip: string): Promise<Traffic & { readonly over: Readonly<Over> }> {
  for (;;) {
    await using attempt = new AsyncDisposableStack();
    const held = attempt.use(await startTraffic(from.client, urlOf(ip), { perSecond: 0, held: 6 }));
    const over = await eventually(async () => {
      const { n1 = 0, n2 = 0 } = await connections(from);
      expect(n1 + n2).toBe(6);
      return { n1, n2 };
    });
    if (over.n1 === 0 || over.n2 === 0) continue;
    attempt.move(); // they belong to the caller now
    return { ...held, over };
  }
}

type Over = Record<'n1' | 'n2', number>;

/** The state of a node in Kubernetes. */
async function isReady(cluster: Cluster, node: string): Promise<string | undefined> {
  const { status } = await cluster.get<NodeObject>(`/api/v1/nodes/${node}`);
  return status.conditions.find(({ type }) => type === 'Ready')?.status;
}

/** Sets or removes the label that excludes a node from load balancers. */
async function label(cluster: Cluster, node: string, value: string | null): Promise<void> {
  const labels = { 'node.kubernetes.io/exclude-from-external-load-balancers': value };
  await cluster.merge(`/api/v1/nodes/${node}`, { metadata: { labels } });
}

async function taint(cluster: Cluster, node: string, taints: readonly object[]): Promise<void> {
  await cluster.merge(`/api/v1/nodes/${node}`, { spec: { taints } });
}

type NodeObject = {
  readonly status: { readonly conditions: readonly { readonly type: string; readonly status: string }[] };
};

describe.skipIf(!isRoot)('a node', () => {
  const stage = useStage();
  afterEach(async () => {
    const { cluster, furiwake } = stage();
    for (const node of ['n1', 'n2']) await label(cluster, node, null);
    await taint(cluster, 'n2', []);
    await furiwake.command(['undrain', 'n2']);
  });

  test('without Pods of the Service loses its network: no new connection fails, those over it end', async () => {
    const { client, lab } = stage();
    const ip = await served(stage(), 'one');
    await using held = await holdOverBoth(stage(), ip);
    const { over } = held;
    const n2 = lab.host('n2');
    await n2.cutNetwork();
    try {
      const pods = await fetchMany(client, urlOf(ip), 150);
      expect(pods).toEqual(Array.from({ length: 150 }, () => 'web-n1'));
      await eventually(async () => expect(await states(stage())).toMatchObject({ n1: 'up', n2: 'silent' }));
      await eventually(() => expect(held.totals()).toMatchObject({ holding: over.n1, broken: over.n2 }));
    } finally {
      await n2.restoreNetwork();
    }
    await eventually(async () => expect(await states(stage())).toMatchObject({ n1: 'up', n2: 'up' }));
  });

  test('with Pods of the Service loses its network: some connections fail until Kubernetes sees it, then none', async () => {
    const { client, cluster, lab } = stage();
    const ip = await served(stage(), 'both', web);
    await using traffic = await startTraffic(client, urlOf(ip), { held: 0 });
    const n2 = lab.host('n2');
    await n2.cutNetwork();
    const cutAt = performance.now();
    try {
      // Until then kube-proxy on n1 continues to choose the unreachable Pod, for half of the connections.
      await eventually(async () => expect(await isReady(cluster, 'n2')).not.toBe('True'), 60_000);
      const seenAfter = Math.round((performance.now() - cutAt) / 1000);
      await eventually(async () => {
        const { failed } = traffic.totals();
        expect((await traffic.after(100)).failed).toBe(failed);
      }, 120_000);
      const { failed, asked, failingMs } = traffic.totals();
      process.stdout.write(
        `a node with Pods lost, seen by Kubernetes after ${seenAfter} s: ${failed} of ${asked} requests failed, within ${Math.round(failingMs / 1000)} s\n`,
      );
    } finally {
      await n2.restoreNetwork();
    }
    await eventually(async () => expect(await states(stage())).toMatchObject({ n1: 'up', n2: 'up' }));
    await eventually(async () => expect(await isReady(cluster, 'n2')).toBe('True'), 120_000);
  }, 400_000);

  test('that is excluded by its label is drained, then removed, and returns', async () => {
    const { client, cluster } = stage();
    const ip = await served(stage(), 'one');
    await using held = await startTraffic(client, urlOf(ip), { perSecond: 0, held: 4 });
    await label(cluster, 'n2', '');
    await eventually(async () => expect((await states(stage()))['n2']).not.toBe('up'));
    const before = await totals(stage());
    await fetchMany(client, urlOf(ip), 20);
    const after = await totals(stage());
    expect((after['n1'] ?? 0) - (before['n1'] ?? 0)).toBeGreaterThanOrEqual(20);
    expect((after['n2'] ?? 0) - (before['n2'] ?? 0)).toBe(0);
    expect(held.totals()).toMatchObject({ holding: 4, broken: 0 });
    await held[Symbol.asyncDispose]();
    await eventually(async () => expect(Object.keys(await states(stage()))).toEqual(['n1']));
    await label(cluster, 'n2', 'false');
    await eventually(async () => expect(await states(stage())).toMatchObject({ n1: 'up', n2: 'up' }));
  });

  test('that the autoscaler is about to delete gets no new connections', async () => {
    const { client, cluster } = stage();
    const ip = await served(stage(), 'one');
    await taint(cluster, 'n2', [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }]);
    await eventually(async () => expect(Object.keys(await states(stage()))).toEqual(['n1']));
    await fetchMany(client, urlOf(ip), 10);
    await taint(cluster, 'n2', []);
    await eventually(async () => expect(await states(stage())).toMatchObject({ n1: 'up', n2: 'up' }));
  });

  test('that an administrator drains keeps its connections and gets no new ones', async () => {
    const { client, furiwake } = stage();
    const ip = await served(stage(), 'one');
    await using held = await startTraffic(client, urlOf(ip), { perSecond: 0, held: 4 });
    expect(await furiwake.command(['drain', 'n2', '--state-dir', '/var/lib/furiwake'])).toMatchObject({
      code: 0,
      said: expect.stringMatching(/^node\/n2 drained: \d+ connections? left in HAProxy/),
    });
    await eventually(async () => expect((await states(stage()))['n2']).toBe('drain'));
    const before = await totals(stage());
    await fetchMany(client, urlOf(ip), 20);
    const after = await totals(stage());
    expect((after['n2'] ?? 0) - (before['n2'] ?? 0)).toBe(0);
    expect(held.totals()).toMatchObject({ holding: 4, broken: 0 });
    await furiwake.command(['undrain', 'n2', '--state-dir', '/var/lib/furiwake']);
    await eventually(async () => expect((await states(stage()))['n2']).toBe('up'));
  });

  test('if none is left, the address stays published, and the condition says so', async () => {
    const { services, cluster } = stage();
    const ip = await served(stage(), 'one');
    for (const node of ['n1', 'n2']) await label(cluster, node, 'true');
    await services.condition('one', 'Serving', 'NoNodes');
    expect(await services.published('one')).toEqual([ip]);
    for (const node of ['n1', 'n2']) await label(cluster, node, null);
    await services.condition('one', 'Serving', 'Serving');
  });
});
