import { expect, onTestFinished, test } from 'vitest';
import { localListener, localTable, node, nodeName, type Weights } from '../../test/make/table.ts';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import type { Backend, TrafficTable } from '../core/traffic/table.ts';
import type { Confirmations } from '../ports/confirmations.ts';
import type { Health } from '../ports/health.ts';
import { makeConfirmations } from './confirmations.ts';
import type { HealthCheckAnswer } from './health-check-port.ts';

const web = localListener('192.0.2.200', 80, 30_080, 'test/web');
const nodes = [1, 2, 3].map((index) => node(`n${index}`, `192.0.2.1${index}`));

/** The servers that take new connections. */
function namesOf(backend: Backend | undefined): string {
  const takers = (backend?.servers ?? []).filter(({ isDraining }) => !isDraining);
  return takers.map((server) => server.node).join(' ');
}

function tableOf(weights: Weights): TrafficTable {
  return localTable([[web, weights]], nodes);
}

type ConfirmationsRig = {
  readonly clock: VirtualClock;
  readonly confirmations: Confirmations;
  /** The nodes that take new connections of this table; later of the last one. */
  readonly admitted: (weights?: Weights) => string;
  /** The answer of each node's health check port; default `mute`. */
  readonly answers: Record<string, HealthCheckAnswer>;
  readonly setSilent: (name: string) => void;
  /** The questions so far. */
  readonly asked: string[];
  readonly told: () => number;
};

function start(answers: Record<string, HealthCheckAnswer> = {}): ConfirmationsRig {
  const clock = virtualClock();
  const verdicts = new Map<ReturnType<typeof nodeName>, { 4: 'silent' }>();
  const subscribers = makeSubscribers();
  const health: Health = { verdicts: () => verdicts, subscribe: subscribers.subscribe };
  const asked: string[] = [];
  const confirmations = makeConfirmations({
    ask: async ({ text }, port) => {
      asked.push(`${text}:${port}`);
      return answers[`n${text.at(-1) ?? ''}`] ?? 'mute';
    },
    health,
    clock,
  });
  const stop = new AbortController();
  const running = confirmations.run(stop.signal).catch(() => undefined);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  let told = 0;
  confirmations.subscribe(() => told++);
  let table = tableOf({});
  return {
    clock,
    confirmations,
    answers,
    asked,
    told: () => told,
    setSilent: (name) => {
      verdicts.set(nodeName(name), { 4: 'silent' });
      subscribers.tell();
    },
    admitted: (weights) => {
      if (weights !== undefined) table = tableOf(weights);
      const backend = confirmations.admit(table).backends.get(web.backend);
      return namesOf(backend);
    },
  };
}

test('the servers of the first table took connections before: they are not asked', async () => {
  const { admitted, asked, clock } = start();
  expect(admitted({ n1: 1, n2: 1 })).toBe('n1 n2');
  await clock.advance(10_000);
  expect([admitted(), asked]).toEqual(['n1 n2', []]);
});

test('a node comes in when its health check port confirms, and leaves at once', async () => {
  const { admitted, answers, asked, clock, told } = start({ n2: 'denies' });
  admitted({ n1: 1 });
  expect(admitted({ n1: 1, n2: 3 })).toBe('n1');
  await clock.advance(500);
  expect(admitted()).toBe('n1');
  answers['n2'] = 'confirms';
  const before = told();
  await clock.advance(200);
  expect([told(), admitted()]).toEqual([before + 1, 'n1 n2']);
  expect(new Set(asked)).toEqual(new Set(['192.0.2.12:32000']));
  expect(admitted({ n1: 1 })).toBe('n1');
  expect(admitted({ n1: 1, n2: 1 })).toBe('n1'); // it must be confirmed again
});

test('a node is asked at once, often for three seconds, then at growing intervals of at most half a minute', async () => {
  const { admitted, asked, clock } = start({ n2: 'denies' });
  admitted({ n1: 1 });
  admitted({ n1: 1, n2: 1 });
  expect(asked).toHaveLength(1);
  await clock.advance(3_000);
  expect(asked.length).toBeGreaterThanOrEqual(14);
  await clock.advance(600_000);
  const before = asked.length;
  await clock.advance(300_000);
  expect(asked.length - before).toBeGreaterThanOrEqual(9);
  expect(asked.length - before).toBeLessThanOrEqual(11);
  admitted({ n1: 1 });
  await clock.advance(300_000);
  expect(asked.length - before).toBeLessThanOrEqual(11);
});

test('the first nodes of a Service take connections before they are confirmed: no other could', async () => {
  const { admitted, answers, clock } = start({ n1: 'denies', n2: 'denies' });
  admitted({});
  expect(admitted({ n1: 1, n2: 1 })).toBe('n1 n2');
  await clock.advance(300);
  expect(admitted()).toBe('n1 n2');
  answers['n2'] = 'confirms';
  await clock.advance(300);
  expect(admitted()).toBe('n2');
});

test('where no health check port answers, EndpointSlices alone decide', async () => {
  const { admitted, clock } = start();
  admitted({});
  admitted({ n1: 1 });
  await clock.advance(1_000);
  expect(admitted({ n1: 1, n2: 1 })).toBe('n1 n2');
  expect(admitted({ n2: 1 })).toBe('n2');
});

test('where no health check port answers, a node with ready endpoints does not wait for those that terminate to end', async () => {
  const { admitted, clock } = start();
  expect(admitted({ n1: 1 })).toBe('n1');
  admitted({ n1: { terminating: 1 }, n2: 1 });
  await clock.advance(1_000);
  expect(admitted()).toBe('n1 n2');
  expect(admitted({ n2: 1 })).toBe('n2');
});

test('nodes that wait for ten seconds are reported, until they are confirmed or leave', async () => {
  const { admitted, answers, clock, confirmations } = start({ n2: 'denies', n3: 'denies' });
  const reported = (): unknown => confirmations.unconfirmed().get(web.backend);
  admitted({ n1: 1 });
  admitted({ n1: 1, n2: 1, n3: 1 });
  await clock.advance(9_000);
  expect(reported()).toBeUndefined();
  await clock.advance(3_000);
  expect(reported()).toEqual({ nodes: ['n2', 'n3'], areUsed: false });
  answers['n3'] = 'confirms';
  await clock.advance(30_000);
  expect(reported()).toEqual({ nodes: ['n2'], areUsed: false });
  admitted({ n2: 1 });
  expect(reported()).toEqual({ nodes: ['n2'], areUsed: true });
  admitted({});
  expect(reported()).toBeUndefined();
});

test('while no node has ready endpoints, those with terminating ones take connections, until another is confirmed', async () => {
  const { admitted, answers, clock } = start({ n2: 'denies' });
  admitted({ n1: 1 });
  expect(admitted({ n1: { terminating: 1 } })).toBe('n1');
  expect(admitted({ n1: { terminating: 1 }, n2: 1 })).toBe('n1');
  await clock.advance(1_000);
  expect(admitted()).toBe('n1');
  answers['n2'] = 'confirms';
  await clock.advance(300);
  expect(admitted()).toBe('n2');
  expect(admitted({ n1: { terminating: 1 }, n2: { terminating: 2 } })).toBe('n1 n2');
});

test('without a health check port every node is confirmed, and terminating endpoints count as with one', () => {
  const { confirmations } = start();
  const admittedOf = (weights: Weights): string => {
    const table = localTable([[web, weights]], nodes);
    const backend = table.backends.get(web.backend);
    const without = backend && { ...backend, healthCheckPort: undefined };
    return namesOf(
      confirmations
        .admit({ ...table, backends: table.backends.with([[web.backend, without]]) })
        .backends.get(web.backend),
    );
  };
  expect(admittedOf({})).toBe('');
  expect(admittedOf({ n1: 1, n2: { terminating: 1 } })).toBe('n1');
  expect(admittedOf({ n2: { terminating: 1 } })).toBe('n2');
});

test('a node with terminating endpoints gets none while another one has ready ones', () => {
  expect(start().admitted({ n1: { terminating: 1 }, n2: 1 })).toBe('n2');
});

test('while all confirmed nodes are silent, the others take connections', async () => {
  const { admitted, clock, setSilent, told } = start({ n2: 'denies' });
  admitted({ n1: 1 });
  admitted({ n1: 1, n2: 1 });
  await clock.advance(1_000);
  expect(admitted()).toBe('n1');
  const before = told();
  setSilent('n1');
  expect([told(), admitted()]).toEqual([before + 1, 'n1 n2']);
});

test('while all confirmed nodes are silent, those with terminating endpoints take connections beside them', async () => {
  const { admitted, clock, setSilent } = start({ n2: 'denies' });
  admitted({ n1: 1, n3: { terminating: 1 } });
  expect(admitted({ n1: 1, n2: 1, n3: { terminating: 1 } })).toBe('n1');
  await clock.advance(1_000);
  setSilent('n1');
  expect(admitted()).toBe('n1 n3');
});

test('a table in which nothing changed is the same object, and so are unchanged backends', async () => {
  const { confirmations } = start();
  const mail = localListener('192.0.2.201', 25, 30_025, 'test/mail');
  const table = (weight: number): TrafficTable =>
    localTable(
      [
        [web, { n1: weight }],
        [mail, { n2: 1 }],
      ],
      nodes,
    );
  const [first, other] = [table(1), table(2)];
  const admitted = confirmations.admit(first);
  expect(confirmations.admit(first)).toBe(admitted);
  const second = confirmations.admit({
    ...other,
    backends: first.backends.with([[web.backend, other.backends.get(web.backend)]]),
  });
  expect(second.backends.get(mail.backend)).toBe(admitted.backends.get(mail.backend));
  expect(second.backends.get(web.backend)?.servers).toMatchObject([{ node: 'n1', weight: 2 }]);
});

test('thousands of mute nodes delay no other one', async () => {
  const clock = virtualClock();
  let asking = 0;
  let most = 0;
  const confirmations = makeConfirmations({
    ask: async ({ text }, _, signal) => {
      most = Math.max(most, ++asking);
      if (text !== '192.0.2.13') await clock.sleep(500, signal);
      asking--;
      return text === '192.0.2.13' ? 'confirms' : 'mute';
    },
    health: { verdicts: () => new Map(), subscribe: () => () => undefined },
    clock,
  });
  const stop = new AbortController();
  const running = confirmations.run(stop.signal).catch(() => undefined);
  const many = Array.from({ length: 2000 }, (_, index) =>
    localListener(`10.0.${index >> 8}.${index & 255}`, 80, 30_000, `test/web-${index}`),
  );
  const all = (...more: readonly (readonly [typeof web, Weights])[]): TrafficTable =>
    localTable([...many.map((each) => [each, { n1: 1, n2: 1 }] as const), ...more], nodes);
  confirmations.admit(tableOf({}));
  confirmations.admit(all());
  await clock.advance(5_000);
  const wanted = all([web, { n1: 1, n3: 1 }]);
  confirmations.admit(wanted);
  await clock.advance(600);
  expect(namesOf(confirmations.admit(wanted).backends.get(web.backend))).toBe('n3');
  expect(most).toBeLessThanOrEqual(64);
  stop.abort();
  await clock.drive(running);
});
