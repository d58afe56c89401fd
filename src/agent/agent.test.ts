import { describe, expect, test } from 'vitest';
import { ip } from '../../test/make/service.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock, type VirtualClock } from '../../test/sim/virtual-clock.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { listenerKey, type Row, tableOf, type TrafficTable } from '../core/traffic/table.ts';
import { type Agent, makeAgent } from './agent.ts';
import { makeTableFile } from '../state/table.ts';

function row(address: string, port: number, service: string): Row {
  const key = listenerKey(ip(address), port, 'TCP');
  return {
    key,
    address: ip(address),
    protocol: 'TCP',
    port,
    service: service as ServiceKey,
    backend: { kind: 'nodes', family: 4, nodePort: 30_000 + port },
    sourceRanges: undefined,
    maxConnections: undefined,
  };
}

function table(...rows: readonly Row[]): TrafficTable {
  return tableOf(rows, { 4: [{ node: 'n1' as NodeName, address: ip('192.0.2.11'), state: 'active' }], 6: [] });
}

type Rig = {
  readonly agent: Agent;
  readonly steps: string[];
  /** Tables that the kernel was given. */
  readonly classified: readonly TrafficTable[];
  readonly clock: VirtualClock;
  failing: string | undefined;
  isHaproxyUp: boolean;
  readonly files: Map<string, string>;
};

/** An agent over ports that note what they are asked, in order, and can be told to fail. */
function makeRig(files: Map<string, string> = new Map()): Rig {
  const steps: string[] = [];
  const classified: TrafficTable[] = [];
  const clock = virtualClock();
  const log = recordLog();
  const rig = { failing: undefined as string | undefined, isHaproxyUp: true };
  const step = (name: string) => async (): Promise<void> => {
    steps.push(name);
    if (rig.failing === name) throw new Error(`${name} failed`);
  };
  const never = (signal: AbortSignal): Promise<void> =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  const observed = (): never => {
    throw new Error('not asked here');
  };
  const agent = makeAgent({
    proxy: {
      portOf: () => 17_100,
      ensure: async () => {
        await step('proxy.ensure')();
        return 'started';
      },
      upsert: step('proxy.upsert'),
      prune: step('proxy.prune'),
      audit: async () => 0,
      run: never,
      observe: observed,
      isUp: () => rig.isHaproxyUp,
      stop: step('proxy.stop'),
    },
    classifier: {
      apply: (given) => {
        classified.push(given);
        return step('classifier.apply')();
      },
      audit: async () => 0,
      run: never,
      remove: step('classifier.remove'),
    },
    announcer: {
      added: async () => PersistentMap.empty(),
      ensure: step('announcer.ensure'),
      release: step('announcer.release'),
      audit: async () => 0,
    },
    host: {
      facts: observed,
      endConnections: async (listeners) => void steps.push(`end ${listeners.map((each) => each.port).join(' ')}`),
    },
    tableFile: makeTableFile({ rowsPath: '/rows', nodesPath: '/nodes', files: filesOf(files), log }),
    clock,
    log,
    metrics: recordMetrics(),
  });
  return Object.assign(rig, { agent, steps, classified, clock, files });
}

const signal = new AbortController().signal;
const a = row('192.0.2.51', 80, 'default/a');
const b = row('192.0.2.51', 443, 'default/b');

describe('a change', () => {
  test('is made ready before packets come, and taken away after they have stopped', async () => {
    const rig = makeRig();
    await rig.agent.submit(table(a, b), signal);
    rig.steps.length = 0;
    await rig.agent.submit(table(a), signal);
    expect(rig.steps).toEqual([
      'proxy.upsert',
      'classifier.apply',
      'announcer.ensure',
      'proxy.prune',
      'end 443',
      'announcer.release',
    ]);
  });

  test('names the Services whose answer may be another now', async () => {
    const rig = makeRig();
    expect(await rig.agent.submit(table(a), signal)).toEqual(new Set(['default/a']));
    expect(await rig.agent.submit(table(a, b), signal)).toEqual(new Set(['default/b']));
    expect(await rig.agent.submit(table(b), signal)).toEqual(new Set(['default/a']));
  });

  test('that changes nothing touches nothing', async () => {
    const rig = makeRig();
    const first = table(a);
    await rig.agent.submit(first, signal);
    rig.steps.length = 0;
    await rig.agent.submit({ ...first, rows: PersistentMap.from(first.rows) }, signal);
    expect(rig.steps).toEqual([]);
  });

  test('of hands ends the connections of the Service that had the listener', async () => {
    const rig = makeRig();
    await rig.agent.submit(table(a), signal);
    rig.steps.length = 0;
    await rig.agent.submit(table(row('192.0.2.51', 80, 'default/other')), signal);
    expect(rig.steps).toContain('end 80');
  });

  test('of hands closes the listener first: nobody comes by what was allowed to the other', async () => {
    const rig = makeRig();
    await rig.agent.submit(table(a, b), signal);
    rig.steps.length = 0;
    await rig.agent.submit(table({ ...a, service: 'default/other' as ServiceKey, sourceRanges: [] }, b), signal);
    expect(rig.steps.slice(0, 3)).toEqual(['classifier.apply', 'proxy.upsert', 'classifier.apply']);
    expect([...(rig.classified.at(-2)?.rows.keys() ?? [])]).toEqual([b.key]);
  });

  test('that a crash cuts short is finished by the next process: connections of what went are ended', async () => {
    const files = new Map<string, string>();
    const first = makeRig(files);
    await first.agent.submit(table(a, b), signal);
    first.failing = 'proxy.prune';
    await first.agent.submit(table(a), signal);
    const next = makeRig(files);
    await next.agent.restore(signal);
    await next.agent.submit(table(a), signal);
    expect(next.steps).toContain('end 443');
  });

  test('is on disk before anybody is told that it is in force', async () => {
    const disk = new Map<string, string>();
    disk.set = () => {
      throw new Error('ENOSPC');
    };
    const rig = makeRig(disk);
    await rig.agent.submit(table(a), signal);
    expect(rig.steps).toContain('announcer.release');
    expect(rig.agent.answerTo(a)).toEqual({ reason: 'DataplaneError', message: 'ENOSPC' });
  });
});

describe('a change that is refused', () => {
  test('leaves what was in force ready, says why for the rest, and is tried again until it holds', async () => {
    const rig = makeRig();
    await rig.agent.submit(table(a), signal);
    rig.failing = 'classifier.apply';
    await rig.agent.submit(table(a, b), signal);
    expect(rig.agent.answerTo(a)).toBe('ready');
    expect(rig.agent.answerTo(b)).toEqual({ reason: 'DataplaneError', message: 'classifier.apply failed' });
    expect(rig.agent.inForce().rows.has(b.key)).toBe(false);
    const restricted = { ...a, sourceRanges: [] };
    await rig.agent.submit(table(restricted), signal);
    expect(rig.agent.answerTo(restricted)).toMatchObject({ reason: 'DataplaneError' }); // it is open still
    await rig.agent.submit(table(a, b), signal);

    const stop = new AbortController();
    const told = Promise.withResolvers<ReadonlySet<ServiceKey>>();
    const running = rig.agent.run((services) => told.resolve(services), stop.signal).catch(() => undefined);
    rig.failing = undefined;
    await rig.clock.drive(told.promise);
    expect(rig.agent.answerTo(b)).toBe('ready');
    stop.abort();
    await rig.clock.drive(running);
  });

  test('is remembered with what it may have left: deleted afterwards, its connections are ended', async () => {
    const rig = makeRig();
    await rig.agent.submit(table(a), signal);
    rig.failing = 'announcer.ensure';
    await rig.agent.submit(table(a, b), signal);
    expect(rig.agent.mayHold().byService.has(b.service)).toBe(true);
    rig.failing = undefined;
    await rig.agent.submit(table(a), signal);
    expect(rig.steps).toContain('end 443');
    expect(rig.agent.mayHold()).toBe(rig.agent.inForce());
  });

  test('is not answered for a listener that nobody asked for', async () => {
    const rig = makeRig();
    rig.failing = 'proxy.upsert';
    await rig.agent.submit(table(a), signal);
    expect(rig.agent.answerTo(row('192.0.2.99', 80, 'default/x'))).toBeUndefined();
  });
});

describe('after a reboot', () => {
  test('the last table is put in force without anybody asking', async () => {
    const files = new Map<string, string>();
    await makeRig(files).agent.submit(table({ ...a, sourceRanges: [{ family: 4, first: 0n, last: 255n }] }, b), signal);
    const rig = makeRig(files);
    await rig.agent.restore(signal);
    expect(new Set(rig.agent.inForce().rows.values())).toEqual(
      new Set([{ ...a, sourceRanges: [{ family: 4, first: 0n, last: 255n }] }, b]),
    );
    expect(rig.agent.inForce().nodes[4]).toHaveLength(1);
  });

  test('without a table nothing is touched', async () => {
    const rig = makeRig();
    await rig.agent.restore(signal);
    expect(rig.steps).toEqual([]);
  });

  test('a table that cannot be read is left alone, and nothing is touched', async () => {
    const rig = makeRig(new Map([['/table', '{"version":1,"nodes4":[],"nodes6":[]}\n{"service":"x"}\n']]));
    await rig.agent.restore(signal);
    expect(rig.steps).toEqual([]);
  });
});

test('what keeps the host from what was asked last is told: nothing in force yet, a dead HAProxy, a change that was refused', async () => {
  const rig = makeRig();
  expect(rig.agent.troubles()).toEqual(['HAProxy and the kernel have not taken the first table yet']);
  await rig.agent.submit(table(a), signal);
  expect(rig.agent.troubles()).toEqual([]);
  rig.isHaproxyUp = false;
  rig.failing = 'classifier.apply';
  await rig.agent.submit(table(a, b), signal);
  expect(rig.agent.troubles()).toEqual([
    'HAProxy does not run',
    'the last change was refused: classifier.apply failed',
  ]);
});
