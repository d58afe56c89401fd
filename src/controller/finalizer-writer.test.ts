import { expect, test } from 'vitest';
import { makeService } from '../../test/make/service.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { projectService } from '../api/service.ts';
import { ourFinalizers } from '../core/model/contract.ts';
import { type AddedFinalizers, makeFinalizerWriter } from './finalizer-writer.ts';

const { signal } = new AbortController();

/** A Service without finalizers, and what is written to it. */
function makeScene() {
  const service = { ...makeService('a'), finalizers: [] };
  const { namespace, name, uid } = service;
  const clock = virtualClock();
  const log = recordLog();
  const events: string[] = [];
  const memory: { added: AddedFinalizers | undefined } = { added: undefined };
  let written = 0;
  let removed = 0;
  const writer = makeFinalizerWriter({
    services: { versionOf: () => '1', put: () => undefined },
    decodeService: (wire) => projectService(wire),
    writes: {
      finalizers: async (_service, resourceVersion, finalizers) => {
        written++;
        return { metadata: { namespace, name, uid, resourceVersion, finalizers } };
      },
    },
    recordEvent: (_service, _type, reason) => void events.push(reason),
    onRemoved: () => void removed++,
    clock,
    log,
  });
  return {
    clock,
    log,
    events,
    written: () => written,
    removed: () => removed,
    add: () => writer.add(service, ourFinalizers, memory, signal),
  };
}

test('finalizers that another client removes at once are added again at growing intervals, and an event says so', async () => {
  const { clock, log, events, add, written, removed } = makeScene();
  expect(await add()).toBeUndefined();
  expect(await add()).toEqual({ requeueAfterMs: 1_000 });
  for (let seconds = 0; seconds < 600; seconds++) {
    await clock.advance(1_000);
    await add(); // the watch has reported the removal
  }
  expect(written()).toBe(7 + 8); // in the first 63 s, then each minute
  expect(removed()).toBe(written() - 1);
  expect(events).toHaveLength(4); // the 1st, 2nd, 4th and 8th time
  expect(new Set(events)).toEqual(new Set(['FinalizersRepaired']));
  expect(log.lines).toHaveLength(4);
});

test('finalizers that are removed once are added again at once, also a second time much later', async () => {
  const { clock, events, add, written } = makeScene();
  await add();
  for (const hour of [1, 2]) {
    await clock.advance(3_600_000);
    expect(await add()).toBeUndefined();
    expect(written()).toBe(hour + 1);
  }
  expect(events).toHaveLength(2);
});
