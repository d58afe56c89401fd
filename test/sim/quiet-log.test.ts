import { expect, test, vi } from 'vitest';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type ControllerRig, startController, startHost } from './controller-rig.ts';
import type { RequestRecord } from './faults.ts';
import type { LogLine } from './observers.ts';
import { fastClock } from './virtual-clock.ts';
import { shownCondition } from './shown-status.ts';

/* What the log and the API server get stays bounded, however many Services one cause concerns. */
const patience = { timeout: 100_000, interval: 20 };

async function startServer(): Promise<SimApiServer> {
  const server = await startSimApiServer({ seed: 1 });
  const addresses = [{ type: 'InternalIP', address: '192.0.2.11' }];
  server.put('Node', { metadata: { name: 'n1' }, status: { addresses } });
  return server;
}

function putServices(server: SimApiServer, count: number): void {
  for (let index = 0; index < count; index++)
    server.put('Service', {
      metadata: { name: `s${index}`, namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        ipFamilies: ['IPv4'],
        ports: [{ port: 80, protocol: 'TCP', nodePort: 30_000 + index }],
      },
    });
}

function putEndpoint(server: SimApiServer, name: string): void {
  server.put('EndpointSlice', {
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.244.1.7'] }],
  });
}

function reasonOf(
  server: SimApiServer,
  name: string,
  type: 'AddressAssigned' | 'Serving' = 'Serving',
): string | undefined {
  return shownCondition(server, `default/${name}`, type)?.reason;
}

function writesTo(server: SimApiServer, name: string): number {
  return server.requests.filter(
    ({ verb, path }) =>
      verb !== 'get' && verb !== 'watch' && (path.endsWith(`/${name}`) || path.endsWith(`/${name}/status`)),
  ).length;
}

test('a restart writes no status of a Service without endpoints', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  const files = new Map<string, string>();
  const options = { files, clock: fastClock(20) };
  const first = await startController(server, stack.use(startHost({ clock: fastClock(20) })), options);
  putServices(server, 1);
  await vi.waitFor(() => expect(reasonOf(server, 's0')).toBe('NoEndpoints'), patience);
  await first[Symbol.asyncDispose]();
  const before = writesTo(server, 's0');
  const rig = stack.use(await startController(server, stack.use(startHost({ clock: fastClock(20) })), options));
  await vi.waitFor(() => expect(rig.controller.plan()?.assignments.size).toBe(1), patience);
  server.put('Service', {
    metadata: { name: 'later', namespace: 'default' },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 81, protocol: 'TCP', nodePort: 30_081 }] },
  });
  await vi.waitFor(() => expect(reasonOf(server, 'later')).toBe('NoEndpoints'), patience); // the grace period is over
  expect(writesTo(server, 's0')).toBe(before);
});

test('a restart writes no status of a Service that is served, before the endpoints are known', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  const options = { files: new Map<string, string>() };
  const first = await startController(server, stack.use(startHost()), options);
  putServices(server, 1);
  putEndpoint(server, 's0');
  await vi.waitFor(() => expect(reasonOf(server, 's0')).toBe('Serving'), patience);
  await first[Symbol.asyncDispose]();
  const before = writesTo(server, 's0');
  server.faults.next({ mishap: 'hang', times: 100, on: ({ resource }) => resource === 'endpointslices' });
  stack.use(await startController(server, stack.use(startHost()), options));
  server.put('Service', {
    metadata: { name: 'later', namespace: 'default' },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 81, protocol: 'TCP', nodePort: 30_081 }] },
  });
  await vi.waitFor(() => expect(reasonOf(server, 'later', 'AddressAssigned')).toBe('Assigned'), patience);
  expect(writesTo(server, 's0')).toBe(before);
});

test('a new Service without endpoints has its address at once and never says that it is served', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  const rig = stack.use(
    await startController(server, stack.use(startHost({ clock: fastClock(20) })), { clock: fastClock(20) }),
  );
  putServices(server, 1);
  await vi.waitFor(() => expect(reasonOf(server, 's0', 'AddressAssigned')).toBe('Assigned'), patience);
  expect(reasonOf(server, 's0')).toBeUndefined();
  await vi.waitFor(() => expect(reasonOf(server, 's0')).toBe('NoEndpoints'), patience);
  await vi.waitFor(() => expect(rig.events.map(({ reason }) => reason)).toEqual(['Assigned', 'NoEndpoints']), patience);
});

test('a Service whose endpoints appear later says that it is served as soon as they do', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  const clock = fastClock(0.02); // the grace period lasts for minutes
  const rig = stack.use(await startController(server, stack.use(startHost()), { clock }));
  putServices(server, 1);
  await vi.waitFor(() => expect(reasonOf(server, 's0', 'AddressAssigned')).toBe('Assigned'), patience);
  putEndpoint(server, 's0');
  await vi.waitFor(() => expect(reasonOf(server, 's0')).toBe('Serving'), patience);
  await vi.waitFor(() => expect(rig.events.map(({ reason }) => reason)).toEqual(['Assigned', 'Serving']), patience);
});

const writeLines = ({ log }: ControllerRig): readonly LogLine[] =>
  log.filter(({ message }) => message.startsWith('writing'));
const isWrite = ({ verb }: RequestRecord): boolean => verb === 'patch' || verb === 'apply';

test('an API server that takes no writes is a line at first, one a minute and one at the end, not one for each of 1,000 Services', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  let isBroken = true;
  server.faults.next({
    mishap: { answer: 503 },
    times: Number.POSITIVE_INFINITY,
    on: (request) => isBroken && isWrite(request),
  });
  const clock = fastClock(10);
  const options = { clock, addresses: ['192.0.0.0/20'] };
  const rig = stack.use(await startController(server, stack.use(startHost({ clock: fastClock(10) })), options));
  putServices(server, 1_000);
  const messages = (): readonly string[] => writeLines(rig).map(({ message }) => message);
  await vi.waitFor(() => {
    expect(server.requests.filter(({ status }) => status === 503).length).toBeGreaterThan(2_000);
    expect(messages().length).toBeGreaterThan(1);
  }, patience);
  isBroken = false;
  await vi.waitFor(() => expect(messages().at(-1)).toBe('writing to Services works again'), patience);
  const failures = messages().slice(0, -1);
  expect(new Set(failures)).toEqual(new Set(['writing to Services failed; retrying']));
  expect(failures.length).toBeLessThanOrEqual(1 + clock.monotonic() / 60_000);
  const last = (index: number): string | undefined => reasonOf(server, `s${index}`, 'AddressAssigned');
  await vi.waitFor(() => expect([last(0), last(999)]).toEqual(['Assigned', 'Assigned']), patience);
});

test('an API server that refuses every other write is one failure until all writes have succeeded', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  let count = 0;
  server.faults.next({
    mishap: { answer: 503 },
    times: Number.POSITIVE_INFINITY,
    on: (request) => isWrite(request) && count++ % 2 === 0,
  });
  const options = { clock: fastClock(5), addresses: ['192.0.2.0/24'] };
  const rig = stack.use(await startController(server, stack.use(startHost({ clock: fastClock(5) })), options));
  putServices(server, 200);
  const published = (): number =>
    Array.from({ length: 200 }, (_, index) => reasonOf(server, `s${index}`, 'AddressAssigned')).filter(
      (reason) => reason === 'Assigned',
    ).length;
  await vi.waitFor(() => expect(published()).toBe(200), patience);
  expect(writeLines(rig).length).toBeLessThan(10);
});

test('a missing permission is a few lines, not some for each Service', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  server.faults.next({ mishap: { answer: 403 }, times: Number.POSITIVE_INFINITY, on: isWrite });
  const rig = stack.use(
    await startController(server, stack.use(startHost({ clock: fastClock(10) })), { clock: fastClock(10) }),
  );
  putServices(server, 200);
  const isRefused = (index: number): boolean =>
    rig.events.some(({ reason, regarding }) => reason === 'WriteRefused' && regarding.name === `s${index}`);
  await vi.waitFor(() => expect([isRefused(0), isRefused(199)]).toEqual([true, true]), patience);
  expect(writeLines(rig).filter(({ level }) => level !== 'debug').length).toBeLessThan(5);
});

test('many Services without an address are one warning', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  putServices(server, 100);
  const rig = stack.use(await startController(server, stack.use(startHost()), { addresses: ['192.0.2.8'] }));
  await vi.waitFor(() => expect(reasonOf(server, 's99', 'AddressAssigned')).toBe('PortConflict'), patience);
  expect(rig.log.filter(({ level }) => level === 'warn')).toMatchObject([
    { fields: { services: 99, PortConflict: 99 } },
  ]);
});
