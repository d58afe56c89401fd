import fc from 'fast-check';
import type { AddressRecord } from '../../src/core/addresses/assignment.ts';
import type { AddressInput, AddressPlan } from '../../src/core/addresses/plan.ts';
import type { Ip } from '../../src/core/ip/ip.ts';
import { rangeContains } from '../../src/core/ip/range.ts';
import type { ListenerKey, ServiceUid } from '../../src/core/model/names.ts';
import type { Service, ServicePort } from '../../src/core/model/service.ts';
import type { SiteRange } from '../../src/core/model/site.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { listenerKey } from '../../src/core/traffic/table.ts';
import { planOnce } from './address-plan.ts';
import { anyHistory, crowdedHistory, inputOf, type World } from './address-world.ts';

export const noRecords: PersistentMap<ServiceUid, AddressRecord> = PersistentMap.empty();

/** Calls `check` with each plan of a history, each made with the records of the one before. */
export function eachPlan(
  check: (input: AddressInput, plan: AddressPlan, world: World) => void,
  numRuns: number = 1_000,
): void {
  fc.assert(
    fc.property(fc.oneof(anyHistory, crowdedHistory), (history) => {
      let records = PersistentMap.from(history.records.map((record) => [record.uid, record]));
      for (const world of history.worlds) {
        const input = inputOf(world, records);
        const plan = planOnce(input);
        check(input, plan, world);
        ({ records } = plan);
      }
    }),
    { numRuns },
  );
}

/** A port that a Service has on an address. */
export type ServedPort = Pick<ServicePort, 'protocol' | 'port'> & {
  readonly service: Service;
  readonly ip: Ip;
  readonly listener: ListenerKey;
};

export function servedBy({ services }: AddressInput, plan: AddressPlan): readonly ServedPort[] {
  return [...services.values()].flatMap((service) =>
    (plan.assignments.get(service.key)?.addresses ?? []).flatMap(({ ip, served }) =>
      served.map(({ port, protocol }) => ({ service, ip, protocol, port, listener: listenerKey(ip, port, protocol) })),
    ),
  );
}

export function hasOnRecord({ records }: AddressInput, service: Service, ip: Ip): boolean {
  return records.get(service.uid)?.addresses.some(({ text }) => text === ip.text) ?? false;
}

/** The range of the pool that has the address. */
export function rangeOf({ pool }: AddressInput, ip: Ip): SiteRange | undefined {
  return pool.ranges.find((range) => rangeContains(range, ip));
}

/** The named pool that the Service requests. */
export function requestedPool({ site }: AddressInput, { spec }: Service): string | undefined {
  const [, name] = spec.poolAnnotations[0] ?? [];
  return site.ranges.find((range) => range.name === name && name !== undefined)?.name;
}
