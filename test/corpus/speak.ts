import { LabError } from '../../lab/errors.ts';
import { until } from '../../lab/machine/until.ts';
import type { Host } from '../../lab/network/host.ts';
import { type Case, type Manifest, namespace } from './cases.ts';
import type { Answer, Target } from './hosts/ask.ts';
import { isFromN1, strangers } from './lacks.ts';
import { addressesOf, isReported, type Seen, type Spoken } from './seen.ts';
import { askFrom, podsOf, type Site } from './site.ts';

const answerTimeoutMs = 10_000;
/** For a port that the Service reports as not served, and for clients that must get no answer. */
const refusalTimeoutMs = 1_000;
/** kube-proxy and furiwake follow a change of the endpoints within this time. */
const settleTimeoutMs = 5_000;
/** HAProxy stands in for `direct` until kube-proxy has shown a sync: usually not longer. */
const standInMs = 12_000;
const affineCount = 20;
const localCount = 12;

const noAddress: Answer = { failure: 'no address' };

/** Speaks to a deployed case from both sides; the status in the result is that of `live`. */
export async function speakTo(site: Site, one: Case, live: Seen['live']): Promise<Seen> {
  const { client, lanclient } = site;
  const spoken = await speakToPortsInTime(site, one, live);
  const targets = firstOfEachProtocol(spoken);
  return {
    case: one,
    live,
    spoken,
    client,
    lanclient,
    affine: one.needs.includes('affinity') ? await askRepeatedly(site, targets) : [],
    onN1: one.needs.includes('local') ? await askWithPodsOnN1(site, one, targets) : [],
  };
}

/** With `Local` again and again, until the Pods see the addresses of the clients. */
async function speakToPortsInTime(site: Site, one: Case, live: Seen['live']): Promise<readonly Spoken[]> {
  let spoken = await speakToPorts(site, one, live);
  if (!one.needs.includes('local')) return spoken;
  const isSeen = (): boolean =>
    spoken
      .filter(({ port }) => port.protocol === 'TCP')
      .every(
        ({ fromClient, fromLan }) =>
          strangers(fromClient, site.client).length + strangers(fromLan, site.lanclient).length === 0,
      );
  if (isSeen()) return spoken;
  await inTime(
    async () => {
      spoken = await speakToPorts(site, one, live);
      return isSeen();
    },
    { signal: site.signal, timeoutMs: standInMs },
  );
  return spoken;
}

async function speakToPorts(
  { client, lanclient, signal }: Site,
  one: Case,
  live: Seen['live'],
): Promise<readonly Spoken[]> {
  const wanted = one.services.flatMap((service) => {
    const addresses = addressesOf(live.get(service.metadata.name));
    const places = addresses.length > 0 ? addresses : [undefined];
    return service.spec.ports.flatMap((port) => places.map((address) => ({ service, address, port })));
  });
  const speak = async (host: Host, timeoutMs: number): Promise<readonly Answer[]> => {
    const targets = wanted.flatMap(({ service, address, port }) => {
      if (address === undefined) return [];
      const isRefused = isReported(live.get(service.metadata.name), port);
      return [
        { address, port: port.port, protocol: port.protocol, deadlineMs: isRefused ? refusalTimeoutMs : timeoutMs },
      ];
    });
    const answers = (await askFrom(host, { kind: 'until', targets }, signal)).values();
    return wanted.map(({ service, address }) =>
      address === undefined ? noAddress : ofThePods(service, answers.next().value),
    );
  };
  // Outside of the source ranges an answer is the failure; when the client is served, it would come at once.
  const isRestricted = one.needs.includes('source-ranges');
  const [fromClient, early] = await Promise.all([
    speak(client, answerTimeoutMs),
    isRestricted ? undefined : speak(lanclient, answerTimeoutMs),
  ]);
  const fromLan = early ?? (await speak(lanclient, refusalTimeoutMs));
  return wanted.map(({ service, address, port }, index) => ({
    service: service.metadata.name,
    address,
    port,
    fromClient: fromClient[index] ?? noAddress,
    fromLan: fromLan[index] ?? noAddress,
  }));
}

/** An answer by a Pod that the Service does not select is a failure. */
function ofThePods(service: Manifest, answer: Answer | undefined): Answer {
  if (answer === undefined) return { failure: 'not asked' };
  if ('failure' in answer || podsOf(service).includes(answer.pod)) return answer;
  return { failure: `answered by ${answer.pod}` };
}

function firstOfEachProtocol(spoken: readonly Spoken[]): readonly Target[] {
  const found = new Map<string, Target>();
  for (const { address, port, fromClient } of spoken) {
    if (address === undefined || 'failure' in fromClient || found.has(port.protocol)) continue;
    found.set(port.protocol, { address, port: port.port, protocol: port.protocol });
  }
  return [...found.values()];
}

function askRepeatedly({ client, lanclient, signal }: Site, targets: readonly Target[]): Promise<Seen['affine']> {
  return Promise.all(
    targets.flatMap((target) =>
      [client, lanclient].map((host) =>
        askFrom(host, { kind: 'in turn', targets: times(affineCount, target) }, signal),
      ),
    ),
  );
}

/** Leaves only the Pod on n1 to the Services; the answers as soon as all are good, or those of the last try. */
async function askWithPodsOnN1(site: Site, one: Case, targets: readonly Target[]): Promise<Seen['onN1']> {
  const { cluster, client, signal } = site;
  const wide = one.services.filter(({ spec }) => spec.selector !== undefined && spec.selector['node'] === undefined);
  const patch = { spec: { selector: { node: 'n1' } } };
  for (const { metadata } of wide)
    await cluster.merge(`/api/v1/namespaces/${namespace}/services/${metadata.name}`, patch);
  let last: Seen['onN1'] = [];
  await inTime(
    async () => {
      last = await Promise.all(
        targets.map((target) => askFrom(client, { kind: 'in turn', targets: times(localCount, target) }, signal)),
      );
      return last.flat().every(isFromN1);
    },
    { signal, timeoutMs: settleTimeoutMs },
  );
  return last;
}

/** Polls like {@link until}; false when the time is over. */
export async function inTime(
  check: () => Promise<boolean>,
  { signal, timeoutMs }: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<boolean> {
  try {
    return await until('it', check, { signal, timeoutMs, everyMs: 10 });
  } catch (error) {
    if (error instanceof LabError && error.code === 'TIMED_OUT' && error.cause === undefined) return false;
    throw error;
  }
}

function times<T>(count: number, item: T): readonly T[] {
  return Array.from({ length: count }, () => item);
}
