import { expect, test } from 'vitest';
import { clientOf, refuse } from '../../test/make/client.ts';
import { makeSite } from '../../test/make/service.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { makeServiceWrites } from '../controller/service-writes.ts';
import { ourFinalizers } from '../core/model/contract.ts';
import type { KubeErrorCode } from '../kube/errors.ts';
import { releaseServices } from './release-services.ts';

const site = makeSite([], { loadBalancerClass: 'a', takesDefaultClass: false });
const { signal } = new AbortController();

function wire(name: string, loadBalancerClass = 'a', finalizers: readonly string[] = ourFinalizers): object {
  const metadata = { namespace: 'ns', name, uid: `uid-${name}`, resourceVersion: '1', finalizers };
  return { metadata, spec: { type: 'LoadBalancer', loadBalancerClass } };
}

/** Releases Services on two pages; the writes to some are refused. Also returns the names that were written. */
async function release(
  pages: readonly (readonly object[])[],
  refusals: Readonly<Record<string, KubeErrorCode>> = {},
): Promise<Awaited<ReturnType<typeof releaseServices>> & { readonly written: readonly string[] }> {
  const written: string[] = [];
  const client = clientOf((asked) => {
    const selected = asked.query?.['fieldSelector']?.replace('metadata.name=', '');
    if (selected !== undefined) return { items: selected === 'gone' ? [] : [wire(selected)], metadata: {} };
    if (asked.verb === 'list') {
      const page = Number(asked.query?.['continue'] ?? 0);
      return { items: pages[page], metadata: { continue: page + 1 < pages.length ? String(page + 1) : '' } };
    }
    const name = asked.path.split('/').at(-1) ?? '';
    const code = refusals[name];
    if (code !== undefined) refuse(code, asked);
    written.push(name);
    return wire(name, 'a', []);
  });
  const deps = { client, writes: makeServiceWrites(client), site, log: recordLog() };
  return { ...(await releaseServices(deps, signal)), written };
}

test('Services of the class with the finalizer of furiwake are released on all pages, and no others', async () => {
  const pages = [
    [wire('one'), wire('other', 'b')],
    [wire('free', 'a', ['else/where']), wire('two')],
  ];
  expect(await release(pages)).toEqual({ released: 2, failed: [], written: ['one', 'two'] });
});

test('one that an admission webhook refuses with 404 has failed', async () => {
  expect(await release([[wire('one')]], { one: 'NOT_FOUND' })).toEqual({
    released: 0,
    failed: ['ns/one'],
    written: [],
  });
});

test('a failed one is reported and does not block the others; a deleted one is done', async () => {
  const refusals = { one: 'CONFLICT', two: 'FORBIDDEN', gone: 'NOT_FOUND' } as const;
  expect(await release([[wire('one'), wire('two'), wire('gone'), wire('three')]], refusals)).toEqual({
    released: 2,
    failed: ['ns/one', 'ns/two'],
    written: ['three'],
  });
});

test('one whose finalizer another client keeps adding has failed', async () => {
  const client = clientOf(({ verb }) => (verb === 'list' ? { items: [wire('one')], metadata: {} } : wire('one')));
  const deps = { client, writes: makeServiceWrites(client), site, log: recordLog() };
  expect(await releaseServices(deps, signal)).toEqual({ released: 0, failed: ['ns/one'] });
});

test('one whose write is not answered for long does not hold up the others', async () => {
  const written: string[] = [];
  const all = Promise.withResolvers<void>();
  const names = Array.from({ length: 100 }, (_, index) => `s${index}`);
  const client = clientOf(({ verb, path }) => {
    if (verb === 'list') return { items: ['slow', ...names].map((name) => wire(name)), metadata: {} };
    const name = path.split('/').at(-1) ?? '';
    written.push(name);
    if (written.length > names.length) all.resolve();
    const answer = wire(name, 'a', []);
    return name === 'slow' ? all.promise.then(() => answer) : answer;
  });
  const deps = { client, writes: makeServiceWrites(client), site, log: recordLog() };
  expect(await releaseServices(deps, signal)).toEqual({ released: 101, failed: [] });
});

test('an abort in between is a failure', async () => {
  const end = new AbortController();
  const client = clientOf(({ verb }) => {
    if (verb === 'list') return { items: [wire('one'), wire('two')], metadata: {} };
    end.abort(new Error('ended by SIGINT'));
    return wire('one', 'a', []);
  });
  const deps = { client, writes: makeServiceWrites(client), site, log: recordLog() };
  await expect(releaseServices(deps, end.signal)).rejects.toThrow('ended by SIGINT');
});
