import { type AddressInput, type AddressPlan, makeAddressPlanner } from '../../src/core/addresses/plan.ts';
import type { Node } from '../../src/core/model/node.ts';
import type { Service } from '../../src/core/model/service.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { byKey, makeHostFacts, makeSite, poolOf } from './service.ts';

/** Input of the address planner: these Services, a pool of these addresses, no records, and what a test says differently. */
export function planInput(
  services: readonly Service[],
  addresses: readonly string[],
  { nodes = [], ...rest }: Partial<AddressInput> & { readonly nodes?: readonly Node[] } = {},
): AddressInput {
  const { site = makeSite(addresses), host = makeHostFacts() } = rest;
  return {
    services: byKey(services),
    records: PersistentMap.empty(),
    site,
    host,
    pool: poolOf(site, host, nodes),
    ...rest,
  };
}

/** By a planner that remembers no earlier plan. */
export function planOnce(input: AddressInput): AddressPlan {
  return makeAddressPlanner()(input);
}

/** `name → addresses`, or the reason why there are none; of Services of the namespace `default`. */
export function addressesOf(plan: AddressPlan): Record<string, string> {
  return Object.fromEntries(
    [...plan.assignments].map(([key, { addresses, verdict }]) => [
      key.slice('default/'.length),
      addresses.map((each) => each.ip.text).join(' ') || verdict.reason,
    ]),
  );
}
