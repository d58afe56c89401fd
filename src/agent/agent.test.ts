import { describe, expect, test } from 'vitest';
import { makeAgentRig, row, table } from '../../test/make/agent-rig.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';

const signal = new AbortController().signal;
const a = row('192.0.2.51', 80, 'default/a');
const b = row('192.0.2.51', 443, 'default/b');

describe('a change', () => {
  test('is made ready before packets come, and taken away after they have stopped', async () => {
    const rig = makeAgentRig();
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

  test('has its addresses recorded ahead, and is in force though that fails: then it is done in its turn', async () => {
    const rig = makeAgentRig();
    rig.failing = 'announcer.prepare';
    await rig.agent.submit(table(a), signal);
    expect(rig.agent.answerTo(a)).toBe('ready');
    await expect.poll(() => rig.steps).toContain('announcer.prepare');
  });

  test('names the Services whose answer may be another now', async () => {
    const rig = makeAgentRig();
    expect(await rig.agent.submit(table(a), signal)).toEqual(new Set(['default/a']));
    expect(await rig.agent.submit(table(a, b), signal)).toEqual(new Set(['default/b']));
    expect(await rig.agent.submit(table(b), signal)).toEqual(new Set(['default/a']));
  });

  test('that changes nothing touches nothing', async () => {
    const rig = makeAgentRig();
    const first = table(a);
    await rig.agent.submit(first, signal);
    rig.steps.length = 0;
    await rig.agent.submit({ ...first, rows: PersistentMap.from(first.rows) }, signal);
    expect(rig.steps).toEqual([]);
  });

  test('of hands ends the connections of the Service that had the listener', async () => {
    const rig = makeAgentRig();
    await rig.agent.submit(table(a), signal);
    rig.steps.length = 0;
    await rig.agent.submit(table(row('192.0.2.51', 80, 'default/other')), signal);
    expect(rig.steps).toContain('end 80');
  });

  test('of hands closes the listener first: nobody comes by what was allowed to the other', async () => {
    const rig = makeAgentRig();
    await rig.agent.submit(table(a, b), signal);
    rig.steps.length = 0;
    await rig.agent.submit(table({ ...a, service: 'default/other' as ServiceKey, sourceRanges: [] }, b), signal);
    expect(rig.steps.slice(0, 3)).toEqual(['classifier.apply', 'proxy.upsert', 'classifier.apply']);
    expect([...(rig.classified.at(-2)?.rows.keys() ?? [])]).toEqual([b.key]);
  });

  test('that a crash cuts short is finished by the next process: connections of what went are ended', async () => {
    const files = new Map<string, string>();
    const first = makeAgentRig(files);
    await first.agent.submit(table(a, b), signal);
    first.failing = 'proxy.prune';
    await first.agent.submit(table(a), signal);
    const next = makeAgentRig(files);
    await next.agent.restore(signal);
    await next.agent.submit(table(a), signal);
    expect(next.steps).toContain('end 443');
  });

  test('is on disk before anybody is told that it is in force', async () => {
    const disk = new Map<string, string>();
    disk.set = () => {
      throw new Error('ENOSPC');
    };
    const rig = makeAgentRig(disk);
    await rig.agent.submit(table(a), signal);
    expect(rig.steps).toContain('announcer.release');
    expect(rig.agent.answerTo(a)).toEqual({ reason: 'DataplaneError', message: 'ENOSPC' });
  });
});

describe('a change that is refused', () => {
  test('leaves what was in force ready, says why for the rest, and is tried again until it holds', async () => {
    const rig = makeAgentRig();
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
    const rig = makeAgentRig();
    await rig.agent.submit(table(a), signal);
    rig.failing = 'announcer.ensure';
    await rig.agent.submit(table(a, b), signal);
    expect(rig.agent.mayHold().byService.has(b.service)).toBe(true);
    rig.failing = undefined;
    await rig.agent.submit(table(a), signal);
    expect(rig.steps).toContain('end 443');
    expect(rig.agent.mayHold()).toBe(rig.agent.inForce());
  });

  test('is not audited meanwhile: what was recorded for it is not added for the table before it', async () => {
    const rig = makeAgentRig();
    await rig.agent.submit(table(a), signal);
    let audits = 0;
    rig.whenAudited = () => audits++;
    const stop = new AbortController();
    const running = rig.agent.run(() => undefined, stop.signal);
    rig.failing = 'classifier.apply';
    const gate = Promise.withResolvers<void>();
    rig.gate = gate.promise;
    const refused = rig.agent.submit(table(a, b), signal);
    await rig.clock.advance(30_000); // the audit finds nothing refused yet, and waits for its turn
    gate.resolve();
    await refused;
    await new Promise(setImmediate);
    expect(audits).toBe(0);
    stop.abort();
    await running;
  });

  test('is not answered for a listener that nobody asked for', async () => {
    const rig = makeAgentRig();
    rig.failing = 'proxy.upsert';
    await rig.agent.submit(table(a), signal);
    expect(rig.agent.answerTo(row('192.0.2.99', 80, 'default/x'))).toBeUndefined();
  });
});

test('what keeps the host from what was asked last is told: nothing in force yet, a dead HAProxy, a change that was refused', async () => {
  const rig = makeAgentRig();
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
