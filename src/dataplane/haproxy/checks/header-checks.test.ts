import { expect, test } from 'vitest';
import { withOptions } from '../../../../test/make/options.ts';
import { node, tableOf } from '../../../../test/make/table.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import type { Listener } from '../../../core/traffic/table.ts';
import { type Desired, planDesired } from '../config/desired.ts';
import { makeHeaderChecks } from './header-checks.ts';
import type { DialResult } from './proxy-header.ts';

const settings = { folder: '/', maxConnections: 1, idleTimeoutSeconds: 1, hasIpv6: true, account: undefined };
const nodes = [node('n1', '192.0.2.1')];
const local = { address: nodes[0]!.addresses[0]!, port: 40_000 };

function proxied(vip: string, proxyProtocol: 0 | 1 | 2 = 1): Listener {
  return withOptions(vip, 25, 30_025, { server: { proxyProtocol, slowStartMs: 1000 } });
}

type HeaderScene = {
  /** What the servers do with a header, and without one. */
  answers: readonly [withHeader: DialResult, without: DialResult];
  listeners: readonly Listener[];
};

function start(scene: HeaderScene) {
  const clock = virtualClock();
  const dialled: string[] = [];
  let desired: Desired | undefined;
  const checks = makeHeaderChecks({
    clock,
    desired: () => {
      const table = tableOf(scene.listeners, nodes);
      desired = planDesired(settings, table, desired);
      return desired;
    },
    dial: async ({ address, port }, first) => {
      const text = first(local)?.toString().trim();
      dialled.push(`${address.text}:${port} ${text ?? 'nothing'}`);
      return scene.answers[text === undefined ? 1 : 0];
    },
  });
  let told = 0;
  checks.subscribe(() => told++);
  const stop = new AbortController();
  const running = checks.run(stop.signal).catch(() => undefined);
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  return { checks, clock, dialled, told: () => told, end };
}

const mail = proxied('192.0.2.51');

test.each<[verdict: boolean, answers: HeaderScene['answers']]>([
  [false, ['open', 'open']],
  [true, ['refused', 'open']],
  [false, ['refused', 'refused']],
  [false, ['unreachable', 'open']],
])('a listener refuses the header: %j, when its server answers %j', async (isRefused, answers) => {
  const { checks, clock, end } = start({ answers, listeners: [mail, proxied('192.0.2.52', 0)] });
  await clock.advance(5_000);
  expect([...checks.refusingHeaders()]).toEqual(isRefused ? [mail.key] : []);
  await end();
});

test('the header has the address and port of the listener; a server that expects it is left alone for ten minutes', async () => {
  const { clock, dialled, end } = start({ answers: ['open', 'open'], listeners: [mail] });
  await clock.advance(600_000);
  expect(dialled).toEqual(['192.0.2.1:30025 PROXY TCP4 192.0.2.1 192.0.2.51 40000 25']);
  await clock.advance(20_000);
  expect(dialled).toHaveLength(2);
  await end();
});

test('a server that expects the header from now on, a changed and a removed listener end the verdict', async () => {
  const scene: HeaderScene = { answers: ['refused', 'open'], listeners: [mail] };
  const { checks, clock, told, end } = start(scene);
  await clock.advance(5_000);
  expect(checks.refusingHeaders().size).toBe(1);
  scene.answers = ['open', 'open'];
  await clock.advance(65_000);
  expect(checks.refusingHeaders().size).toBe(0);
  scene.answers = ['refused', 'open'];
  scene.listeners = [proxied('192.0.2.51', 2)];
  await clock.advance(5_000);
  expect(checks.refusingHeaders().size).toBe(1);
  scene.listeners = [];
  await clock.advance(5_000);
  expect([checks.refusingHeaders().size, told()]).toEqual([0, 4]);
  await end();
});

test('at most ten listeners are checked in a round', async () => {
  const listeners = Array.from({ length: 12 }, (_, index) => proxied(`192.0.2.${100 + index}`));
  const { clock, dialled, end } = start({ answers: ['open', 'open'], listeners });
  await clock.advance(5_000);
  expect(dialled).toHaveLength(10);
  await clock.advance(5_000);
  expect(dialled).toHaveLength(12);
  await end();
});
