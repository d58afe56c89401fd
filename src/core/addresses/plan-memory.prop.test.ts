import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planInput, planOnce } from '../../../test/make/address-plan.ts';
import { anyHistory, anyServices, crowdedHistory, inputOf } from '../../../test/make/address-world.ts';
import { noRecords } from '../../../test/make/each-plan.ts';
import { makeService, tcp } from '../../../test/make/service.ts';
import type { ServiceUid } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import { type AddressInput, makeAddressPlanner } from './plan.ts';

test('a planner that remembers its last plan decides as one that remembers nothing', () => {
  fc.assert(
    fc.property(fc.oneof(anyHistory, crowdedHistory), anyServices, fc.nat(7), ({ worlds }, shown, forgotten) => {
      const planner = makeAddressPlanner();
      let records = noRecords;
      let before: AddressInput | undefined;
      const compare = (input: AddressInput): void => {
        const plan = planner(input);
        const anew = planOnce(input);
        expect([...plan.assignments]).toEqual([...anew.assignments]);
        expect([...plan.records]).toEqual([...anew.records]);
        ({ records } = plan);
        before = input;
      };
      for (const world of worlds) {
        const { site, host, pool, ...rest } = inputOf(world, records);
        // As in the controller, a site that is the same is the same object, and so is a pool.
        const isSame = before !== undefined && before.site === site;
        const last = isSame ? before : undefined;
        const samePool = last !== undefined && JSON.stringify(textOf(last.pool)) === JSON.stringify(textOf(pool));
        compare({ ...rest, site, host, pool: samePool ? last.pool : pool });
        compare({ ...before!, records });
        compare({ ...before!, host: { ...host, listening: [] } });
        // Statuses change, and a record is lost.
        const services = before!.services.with(
          shown.flatMap(({ key, status }) => {
            const service = before!.services.get(key);
            return service === undefined ? [] : [[key, { ...service, status }] as const];
          }),
        );
        compare({ ...before!, services, records: records.with([[`uid-s${forgotten}` as ServiceUid, undefined]]) });
      }
    }),
    { numRuns: 500 },
  );
});

function textOf({ ranges, excluded }: AddressInput['pool']): unknown {
  return [ranges.map(({ family, first, last }) => `${family} ${first} ${last}`), [...excluded]];
}

test('a change among thousands of Services leaves the decisions about the others the same objects', () => {
  const services = Array.from({ length: 2_000 }, (_, index) => makeService(`s${index}`, { ports: [tcp(80)] }));
  const planner = makeAddressPlanner();
  const input = planInput(services, ['10.0.0.0/20']);
  const first = planner(input);
  const changedOne = makeService('s77', { ports: [tcp(81)] });
  const next = planner({
    ...input,
    records: first.records,
    services: input.services.with([[changedOne.key, changedOne]]),
  });
  expect(PersistentMap.changedKeys(first.assignments, next.assignments)).toEqual([changedOne.key]);
  expect(PersistentMap.changedKeys(first.records, next.records)).toEqual([changedOne.uid]);
});
