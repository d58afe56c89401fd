import { describe, expect, test } from 'vitest';
import type { Listener } from '../core/traffic/table.ts';
import { localListener, localTable, node, podListener, podTable, tableOf } from '../../test/make/table.ts';
import { answer, listener, publish, startAgent, table } from '../../test/make/agent-rig.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.51', 443, 'b');
const c = listener('192.0.2.52', 80, 'c');

describe('after a restart', () => {
  test('the last table is in force before anything is published', async () => {
    const files = new Map<string, string>();
    const restricted = listener('192.0.2.52', 80, 'c', { sourceRanges: [{ family: 4, first: 0n, last: 255n }] });
    await publish(startAgent({ files }), a, restricted);
    const rig = startAgent({ files });
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(0);
    expect([answer(rig, a), answer(rig, restricted)]).toEqual(['ready', 'ready']);
    expect(rig.agent.desired()?.nodes.size).toBe(1);
  });

  test('the nodes of a Service are known before the API server answers, and stay while its endpoints are not known', async () => {
    const files = new Map<string, string>();
    const web = localListener('192.0.2.53', 80, 30_080, 'default/web');
    const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
    const known = localTable([[web, { n2: 3 }]], nodes);
    const first = startAgent({ files });
    first.agent.publish(known);
    await first.clock.advance(0);
    const rig = startAgent({ files });
    await rig.agent.restore(() => undefined);
    expect(rig.agent.desired()?.backends.get(web.backend)).toEqual(known.backends.get(web.backend));
    rig.agent.publish(tableOf([web, a], nodes)); // without the backend
    expect(rig.agent.desired()?.backends.get(web.backend)).toEqual(known.backends.get(web.backend));
    rig.agent.publish(localTable([[web, {}]], nodes));
    expect(rig.agent.desired()?.backends.get(web.backend)?.servers).toEqual([]);
    rig.agent.publish(tableOf([a], nodes));
    expect(rig.agent.desired()?.backends.has(web.backend)).toBe(false);
  });

  test('the Pods of a Service are known before the API server answers, and stay while its endpoints are not known', async () => {
    const files = new Map<string, string>();
    const web = podListener('192.0.2.53', 80, 'default/web');
    const known = podTable([[web, ['10.244.1.7 8080 n1']]]);
    const first = startAgent({ files });
    first.agent.publish(known);
    await first.clock.advance(0);
    const rig = startAgent({ files });
    await rig.agent.restore(() => undefined);
    const pods = () => rig.agent.desired()?.pods.get(web.backend);
    expect(pods()).toEqual(known.pods.get(web.backend));
    rig.agent.publish(tableOf([web, a])); // without the backend
    expect(pods()).toEqual(known.pods.get(web.backend));
    rig.agent.publish(podTable([[web, []]]));
    expect(pods()?.pods).toEqual([]);
    rig.agent.publish(tableOf([a]));
    expect(pods()).toBeUndefined();
  });

  test('connections of what a crash cut short are ended', async () => {
    const files = new Map<string, string>();
    const first = startAgent({ files });
    await publish(first, a, b);
    first.ports.failing.set('proxy.prune', 'no');
    await publish(first, a);
    const rig = startAgent({ files });
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(0);
    await publish(rig, a);
    expect(rig.ports.steps).toContain('end 443');
  });

  test.each([
    ['proxy.upsert', [a.key]],
    ['steering.apply', [a.key, c.key]],
  ] as const)(
    'while %s fails, what the earlier process programmed stays, and only addresses that nothing needs are removed',
    async (step, steered) => {
      const files = new Map<string, string>();
      const { ports } = await publish(startAgent({ files }), a, c);
      const rig = startAgent({ files, ports });
      ports.failing.set(step, 'no');
      await rig.agent.restore(() => undefined);
      await publish(rig, a, listener('192.0.2.53', 80, 'd'));
      await rig.clock.advance(10 * 60_000);
      expect([...ports.held.steering.listeners.keys()]).toEqual(steered);
      expect([...ports.held.proxy.keys()]).toEqual(expect.arrayContaining([...steered]));
      expect([...ports.held.placed.keys()]).toEqual(['192.0.2.51']);
      expect([answer(rig, a), rig.agent.troubles()]).toEqual(['no', ['no']]);
      ports.failing.clear();
      await rig.clock.advance(60_000);
      expect([answer(rig, a), answer(rig, c), rig.agent.troubles()]).toEqual(['ready', 'nothing', []]);
      expect([...ports.held.placed.keys()]).toEqual(['192.0.2.51', '192.0.2.53']);
    },
  );

  test.each([
    ['nat', {}, true],
    ['direct', { isPublished: true }, true],
    ['nat', {}, false],
  ] as const)(
    'while %s is slow, an address that only its listener needs stays on the host (%o, restored: %s)',
    async (dataplane, more, isRestored) => {
      const files = new Map<string, string>();
      const alone = listener('192.0.2.55', 5_300, 'dns', { protocol: 'UDP', dataplane, ...more });
      const { ports } = await publish(startAgent({ files }), a, c, alone);
      const rig = startAgent({ files: isRestored ? files : new Map(), ports });
      const isThere: boolean[] = [];
      const slow = async (): Promise<void> => {
        await rig.clock.sleep(7_000, new AbortController().signal);
        isThere.push(ports.held.placed.has('192.0.2.55'));
      };
      ports.hanging.get = (name) => (name === `${dataplane}.apply` ? slow() : undefined);
      if (isRestored) await rig.agent.restore(() => undefined);
      for (const wanted of [[a], [a, c]]) {
        rig.agent.publish(table(...wanted, alone));
        for (let ms = 0; ms < 6_000; ms += 500) {
          await rig.clock.advance(500);
          isThere.push(ports.held.placed.has('192.0.2.55'));
        }
      }
      await rig.clock.advance(60_000);
      expect(isThere).not.toContain(false);
      expect(answer(rig, alone)).toBe('ready');
      await publish(rig, a);
      await rig.clock.advance(60_000);
      expect([...ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    },
  );

  test('while HAProxy fails, its listeners stay with narrower source ranges, also that of direct for which it stands in', async () => {
    const files = new Map<string, string>();
    const standing = listener('192.0.2.54', 80, 'd', { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
    const { ports } = await publish(startAgent({ files }), a, standing);
    const rig = startAgent({ files, ports });
    ports.failing.set('proxy.upsert', 'no');
    await rig.agent.restore(() => undefined);
    const rangesOf = ({ key }: Listener): unknown => ports.held.steering.listeners.get(key)?.sourceRanges;
    const narrow = listener('192.0.2.51', 80, 'a', { sourceRanges: [] });
    for (const [wanted, expected] of [
      [a, undefined],
      [narrow, []],
      [a, undefined],
    ] as const) {
      await publish(rig, wanted, standing);
      await rig.clock.advance(60_000);
      expect([rangesOf(a), ports.held.direct.has(standing.key)]).toEqual([expected, true]);
      expect([answer(rig, wanted), answer(rig, standing)]).toEqual(['no', 'ready']);
      expect([...ports.held.placed.keys()]).toEqual(['192.0.2.51', '192.0.2.54']);
    }
    rig.agent.setServing(false);
    await rig.clock.advance(100);
    expect([rangesOf(a), ports.held.placed.size]).toEqual([[], 0]);
  });

  test('while HAProxy fails, a listener that another Service got meanwhile is closed', async () => {
    const files = new Map<string, string>();
    const { ports } = await publish(startAgent({ files }), a, c);
    const rig = startAgent({ files, ports });
    ports.failing.set('proxy.upsert', 'no');
    await rig.agent.restore(() => undefined);
    await publish(rig, listener('192.0.2.51', 80, 'other'), c);
    await rig.clock.advance(60_000);
    expect([...ports.held.steering.listeners.keys()]).toEqual([c.key]);
  });

  test.each([
    ['a reboot', false],
    ['a restart that finds it on the host, where it does not stay', true],
  ])('an address that this host needs itself is not served again after %s', async (_, isThere) => {
    const files = new Map<string, string>();
    const { ports } = await publish(startAgent({ files }), a, c);
    const rig = startAgent(isThere ? { files, ports } : { files });
    await rig.agent.restore(({ text }) => (text === '192.0.2.52' ? 'the API server' : undefined));
    await rig.clock.advance(1_000);
    expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
    expect(rig.agent.report().listeners.get(c.key)?.revision).toBeUndefined();
  });

  test('without a table nothing is touched', async () => {
    const rig = startAgent();
    await rig.agent.restore(() => undefined);
    await rig.clock.advance(60_000);
    expect(rig.ports.steps).toEqual([]);
  });
});

test('a full disk delays no Service, is said once in a while, and is made good', async () => {
  const files = new Map<string, string>();
  let isFull = true;
  files.set = (path, text) => {
    if (isFull) throw new Error('ENOSPC');
    return Map.prototype.set.call(files, path, text) as typeof files;
  };
  const rig = startAgent({ files });
  await publish(rig, a, b);
  await publish(rig, a); // a Service that leaves, besides
  expect([answer(rig, a), answer(rig, b)]).toEqual(['ready', 'nothing']);
  await rig.clock.advance(60 * 60_000);
  expect(rig.ports.steps.filter((step) => step === 'proxy.upsert').length).toBeLessThan(5);
  expect(rig.log.lines.filter(({ message }) => message.includes('saving the table')).length).toBeLessThan(10);
  isFull = false;
  await rig.clock.advance(60_000);
  expect(files.get('/listeners.jsonl')).toContain('default/a');
});
