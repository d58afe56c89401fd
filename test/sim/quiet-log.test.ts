import { expect, test, vi } from 'vitest';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';

/* What the log and the API server get stays bounded, however many Services one cause concerns. */
const patience = { timeout: 20_000, interval: 20 };

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

function reasonOf(server: SimApiServer, name: string, type = 'furiwake.dev/Serving'): string | undefined {
  const service = server.get('Service', `default/${name}`) as
    | { readonly status?: { readonly conditions?: readonly { readonly type: string; readonly reason: string }[] } }
    | undefined;
  return service?.status?.conditions?.find((condition) => condition.type === type)?.reason;
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
  const options = { files, timeFactor: 20 };
  const first = await startController(server, stack.use(startHost({ timeFactor: 20 })), options);
  putServices(server, 1);
  await vi.waitFor(() => expect(reasonOf(server, 's0')).toBe('NoEndpoints'), patience);
  await first[Symbol.asyncDispose]();
  const before = writesTo(server, 's0');
  const rig = stack.use(await startController(server, stack.use(startHost({ timeFactor: 20 })), options));
  await vi.waitFor(() => expect(rig.controller.plan()?.assignments.size).toBe(1), patience);
  server.put('Service', {
    metadata: { name: 'later', namespace: 'default' },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 81, protocol: 'TCP', nodePort: 30_081 }] },
  });
  await vi.waitFor(() => expect(reasonOf(server, 'later')).toBe('NoEndpoints'), patience); // the grace period is over
  expect(writesTo(server, 's0')).toBe(before);
});

test('an API server that takes no writes is said once, not for each of 200 Services', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  let isBroken = true;
  server.faults.next({
    mishap: { answer: 503 },
    times: Number.POSITIVE_INFINITY,
    on: ({ verb }) => isBroken && ['patch', 'apply'].includes(verb),
  });
  const rig = stack.use(
    await startController(server, stack.use(startHost({ timeFactor: 5 })), {
      timeFactor: 5,
      addresses: ['192.0.2.0/24'],
    }),
  );
  putServices(server, 200);
  await vi.waitFor(
    () => expect(server.requests.filter(({ status }) => status === 503).length).toBeGreaterThan(600),
    patience,
  );
  expect(rig.log.filter(({ message }) => message.startsWith('writing')).length).toBe(1);
  isBroken = false;
  await vi.waitFor(() => expect(reasonOf(server, 's199', 'furiwake.dev/AddressAssigned')).toBe('Assigned'), patience);
  expect(rig.log.filter(({ message }) => message.startsWith('writing')).length).toBe(2);
});

test('many Services without an address are one warning', async () => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  putServices(server, 100);
  const rig = stack.use(await startController(server, stack.use(startHost()), { addresses: ['192.0.2.8'] }));
  await vi.waitFor(
    () => expect(reasonOf(server, 's99', 'furiwake.dev/AddressAssigned')).toBe('PortConflict'),
    patience,
  );
  expect(rig.log.filter(({ level }) => level === 'warn')).toMatchObject([
    { fields: { services: 99, PortConflict: 99 } },
  ]);
});
