import type { Family, Ip } from '../ip/ip.ts';
import type { ServiceKey } from '../model/names.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';
import type { Claims } from './claims.ts';
import type { Draft, Ground } from './draft.ts';
import { hostNeeds } from './host-needs.ts';

type Found = { readonly ok: true; readonly ip: Ip } | { readonly ok: false; readonly verdict: Verdict };

/** Ports for which no address was found, and how much had been given back by then. */
export type Failures = Map<
  string,
  { readonly releases: number; readonly verdict: Verdict; readonly waitsForHost: boolean }
>;

/** Looks for an address; not again for the same ports of the same namespace and sharing key while nothing was given back: thousands may wait for one. */
export function findOnce(draft: Draft, family: Family, claims: Claims, ground: Ground, failures: Failures): Found {
  const { namespace, sharingKey } = draft.holder;
  const ports = `${family} ${namespace} ${sharingKey ?? ''} ${draft.ports.servable.map(({ port, protocol }) => `${port}/${protocol}`).join()}`;
  const known = failures.get(ports);
  if (known !== undefined && known.releases === claims.releases) {
    draft.waitsForHost ||= known.waitsForHost;
    return { ok: false, verdict: known.verdict };
  }
  const found = findAddress(draft, family, claims, ground);
  if (!found.ok) {
    const { waitsForHost } = draft;
    failures.set(ports, { releases: claims.releases, verdict: found.verdict, waitsForHost });
  }
  return found;
}

/** The lowest free address, else the lowest one that can be shared. */
function findAddress(draft: Draft, family: Family, claims: Claims, ground: Ground): Found {
  if (!claims.hasFamily(family)) {
    return {
      ok: false,
      verdict: { reason: 'FamilyUnavailable', message: `--addresses holds no IPv${family} address` },
    };
  }
  let first: Verdict | undefined;
  let count = 0;
  for (const candidates of [() => claims.free(family), () => claims.inUse(family)]) {
    for (const ip of candidates()) {
      const problem = obstacle(draft, ip, claims, ground);
      if (problem === undefined) return { ok: true, ip };
      first ??= problem;
      count++;
    }
  }
  if (count === 1 && first !== undefined) return { ok: false, verdict: first };
  const message = `none of the ${count} IPv${family} addresses in --addresses can take this Service${first === undefined ? '' : `; the first: ${first.message}`}`;
  return { ok: false, verdict: { reason: 'PoolExhausted', message } };
}

/** Why the Service cannot have all of its ports on this address; `undefined` when it can. */
export function obstacle(draft: Draft, ip: Ip, claims: Claims, ground: Ground): Verdict | undefined {
  const use = ground.pool.excluded.get(ip.text);
  if (use !== undefined) return { reason: 'AddressInUse', message: `${ip.text} is in use: ${use}` };
  for (const port of draft.ports.servable) {
    const need = hostNeeds(draft, ip, port, ground);
    if (need !== undefined) return need;
    const holder = claims.holderOf(listenerKey(ip, port.port, port.protocol));
    if (holder !== undefined && holder !== draft.service.key) return conflict(draft, ip, port.port, holder);
  }
  if (!ground.site.handsOutOwn && !claims.mayShare(ip.text, draft.holder)) return notShared(ip);
  return undefined;
}

/** Names no Service of another namespace: its name is not for all to read. */
export function conflict({ service }: Draft, ip: Ip, port: number, holder: ServiceKey): Verdict {
  const isNeighbour = holder.startsWith(`${service.namespace}/`);
  const owner = isNeighbour ? `Service ${holder}` : 'a Service of another namespace';
  return { reason: 'PortConflict', message: `port ${port} of ${ip.text} belongs to ${owner}` };
}

function notShared(ip: Ip): Verdict {
  return {
    reason: 'SharingNotAllowed',
    message: `${ip.text} is used by a Service of another namespace: to share it, both need the same annotation furiwake.dev/sharing-key`,
  };
}
