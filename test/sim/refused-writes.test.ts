import { expect, test } from 'vitest';
import { ourFinalizers } from '../../src/core/model/contract.ts';
import { makeSimApiServer, type SimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';
import type { Faults } from './faults.ts';
import { virtualClock } from './virtual-clock.ts';

/*
 * For a minute of virtual time the API server refuses a write, or an admission plugin changes it:
 * furiwake retries after growing waits and says so by an event. When the minute is over, the Service is served, removed, or released.
 */
const windowMs = 60_000;
const settledMs = 1_000;
/** Longer than the wait after the last refusal. */
const healedMs = 120_000;

/** Begins the trouble; the function that it returns ends it. */
type Trouble = (server: SimApiServer) => () => void;

function refusal(answer: number, resource: 'services' | 'services/status', message?: string): Trouble {
  return ({ faults }) => {
    let isRefusing = true;
    faults.next({
      mishap: { answer, ...(message === undefined ? {} : { message }) },
      times: Number.POSITIVE_INFINITY,
      on: (request) => isRefusing && request.resource === resource && ['patch', 'apply'].includes(request.verb),
    });
    return () => {
      isRefusing = false;
    };
  };
}

function admission(admit: Faults['admit']): Trouble {
  return ({ faults }) => {
    const before = faults.admit;
    faults.admit = admit;
    return () => {
      faults.admit = before;
    };
  };
}

const withFinalizers = (finalizers: readonly string[]): Trouble =>
  admission((service) => ({ ...service, metadata: { ...service.metadata, finalizers } }));
const withoutStatus = admission(({ status: _status, ...service }) => service);

type Case = readonly [what: string, trouble: Trouble, note: RegExp];

const failedWebhook =
  'Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: Post "https://w.default.svc:443/": dial tcp 10.96.0.9:443: connect: connection refused';

/** A webhook may deny a request with any code. */
const codes = [400, 403, 404, 409, 410, 422];
const newService: readonly Case[] = [
  ...codes.flatMap((answer): Case[] => [
    [`${answer} on the status`, refusal(answer, 'services/status'), /^the status cannot be written, retrying: /],
    [`${answer} on the finalizers`, refusal(answer, 'services'), /^the finalizers cannot be written, retrying: /],
  ]),
  ...[500, 503, 504].map((answer): Case => [
    `${answer} of a webhook that fails`,
    refusal(answer, 'services', failedWebhook),
    /^the finalizers cannot be written, retrying: .*failed calling webhook "w.example.com": failed to call webhook: /,
  ]),
  ['a plugin that strips the status', withoutStatus, /^the status cannot be written, retrying: an admission plugin /],
  [
    'a plugin that strips the finalizers',
    withFinalizers([]),
    /^the finalizers cannot be written, retrying: an admission plugin changes them: furiwake\.dev\/cleanup, /,
  ],
];
const deletedService: readonly Case[] = [
  ...codes.map((answer): Case => [`${answer} on the finalizers`, refusal(answer, 'services'), /injected/]),
  [
    'a plugin that restores the finalizers',
    withFinalizers(ourFinalizers),
    /^the finalizers cannot be written, retrying: an admission plugin changes them: furiwake\.dev\/cleanup, /,
  ],
];

/** The status is emptied before the finalizers go, so each of them may be refused. */
const changedService: readonly Case[] = codes.flatMap((answer): Case[] => [
  [`${answer} on the status`, refusal(answer, 'services/status'), /^the status cannot be written, retrying: /],
  [`${answer} on the finalizers`, refusal(answer, 'services'), /^the finalizers cannot be written, retrying: /],
]);

test.each([
  ...newService.map((row) => ['a new', ...row] as const),
  ...changedService.map((row) => ['a ClusterIP', ...row] as const),
  ...deletedService.map((row) => ['a deleted', ...row] as const),
])('%s Service and %s: attempts are paced, an event says why, and it heals', async (state, _what, trouble, note) => {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  const addresses = [{ type: 'InternalIP', address: '192.0.2.11' }];
  server.put('Node', { metadata: { name: 'n1' }, status: { addresses } });
  const host = startHost({ clock });
  const rig = await startController(server, host, { clock });
  const isServed = (): boolean => {
    const { metadata, status } = server.get('Service', 'default/a') ?? {};
    const shown = JSON.stringify(status ?? {}).includes('192.0.2.8');
    return shown && metadata?.finalizers?.toSorted().join() === ourFinalizers.join();
  };
  const put = (): void => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    const spec = { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports };
    server.put('Service', { metadata: { name: 'a', namespace: 'default' }, spec });
  };
  const isReleased = (): boolean => {
    const { metadata, status } = server.get('Service', 'default/a') ?? {};
    const own = (status?.['conditions'] ?? []) as readonly { readonly type: string }[];
    return (metadata?.finalizers ?? []).length === 0 && own.length === 0;
  };
  const isGone = (): boolean => server.get('Service', 'default/a') === undefined;
  const isOver = state === 'a new' ? isServed : state === 'a deleted' ? isGone : isReleased;

  try {
    if (state !== 'a new') {
      put();
      await clock.advance(settledMs);
    }
    const end = trouble(server);
    const before = server.requests.length;
    const present = server.get('Service', 'default/a');
    if (state === 'a new') put();
    else if (state === 'a deleted') server.remove('Service', 'default/a');
    else if (present !== undefined) {
      const { metadata, spec, status } = present; // the API server takes the addresses from the status itself
      server.put('Service', {
        metadata,
        spec: { ...spec, type: 'ClusterIP' },
        status: { ...status, loadBalancer: {} },
      });
    }
    await clock.advance(windowMs);
    const attempts = server.requests.slice(before).filter(({ verb }) => ['patch', 'apply'].includes(verb));
    expect(attempts.length).toBeLessThanOrEqual(20);
    const events = rig.events.filter(({ reason }) => reason === 'WriteRefused');
    expect(events).not.toEqual([]);
    for (const event of events) expect(event).toMatchObject({ type: 'Warning', note: expect.stringMatching(note) });
    const warnings = rig.log.filter(({ level }) => level === 'warn' || level === 'error');
    expect(warnings.map(({ message }) => message)).toEqual(['writing to Services failed; retrying']);
    expect(isOver()).toBe(false);

    end();
    await clock.advance(healedMs);
    expect(isOver()).toBe(true);
  } finally {
    for (const each of [rig, host, server]) await clock.drive(Promise.resolve(each[Symbol.asyncDispose]()));
  }
});
