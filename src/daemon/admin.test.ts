import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { type LogLine, recordLog } from '../../test/sim/observers.ts';
import { systemFiles } from '../main/node/files.ts';
import { loadDrains } from './drains.ts';
import { adminRoutes, askAdmin, noAnswer, serveAdmin } from './admin.ts';

const { signal } = new AbortController();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'furiwake-admin-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What an administrator is told for these requests, one after the other, and what came of them. */
async function tell(
  nodes: readonly string[] | undefined,
  ...requests: readonly (readonly [verb: string, node: string])[]
): Promise<{ said: readonly string[]; drained: readonly string[]; log: readonly LogLine[] }> {
  const log = recordLog();
  const drains = await loadDrains({ path: '/drains', files: filesOf(new Map()), log });
  const routes = adminRoutes({
    status: () => Promise.reject(new Error('not asked here')),
    drains,
    nodes: () => (nodes === undefined ? undefined : new Set(nodes)),
    log,
  });
  const socket = path.join(folder, 'admin.sock');
  await using _admin = await serveAdmin(socket, routes, systemFiles, signal);
  const said: string[] = [];
  for (const [verb, node] of requests)
    said.push(
      await askAdmin(socket, 'POST', `/${verb}`, node, signal).catch((error: unknown) => (error as Error).message),
    );
  return { said, drained: [...drains.current()], log: log.lines };
}

test('a node is drained and undrained, and that is logged', async () => {
  const { said, drained, log } = await tell(['n1', 'n2'], ['drain', 'n2'], ['drain', 'n1'], ['undrain', 'n2']);
  expect(said).toEqual([
    'node/n2 drained\n',
    'node/n1 drained\nWarning: every node is drained, so Services get no connections.\n',
    'node/n2 accepts connections again\n',
  ]);
  expect(drained).toEqual(['n1']);
  expect(log.map(({ fields, message }) => [message, fields['node']])).toEqual([
    ['node drained: no new connections', 'n2'],
    ['node drained: no new connections', 'n1'],
    ['every node is drained: Services get no connections', 'n1'],
    ['node undrained', 'n2'],
  ]);
});

test.each([
  ['drain', 'n3', ['n2', 'n1'], 'There is no node "n3". Nodes: n1, n2'],
  ['undrain', 'n3', ['n1'], 'There is no node "n3". Nodes: n1'],
  ['drain', '', ['n1'], 'There is no node "". Nodes: n1'],
  ['drain', 'n1', [], 'There is no node "n1". Nodes: none'],
  ['drain', 'n1', undefined, 'The nodes are not known yet. Try again when `furiwake status` says ready.'],
])('%s %j of %j is refused, in these words', async (verb, node, nodes, words) => {
  const { said, drained, log } = await tell(nodes, [verb, node]);
  expect(said).toEqual([words]);
  expect([drained, log]).toEqual([[], []]);
});

test('a node that went while it was drained may be undrained', async () => {
  const nodes = new Set(['n1']);
  const status = (): Promise<never> => Promise.reject(new Error('not asked here'));
  const log = recordLog();
  const drains = await loadDrains({ path: '/drains', files: filesOf(new Map()), log });
  const routes = adminRoutes({ status, drains, nodes: () => nodes, log });
  await routes['POST /drain']?.('n1', signal);
  nodes.clear();
  expect(await routes['POST /undrain']?.('n1', signal)).toMatchObject({
    status: 200,
    body: 'node/n1 accepts connections again\n',
  });
  expect(await routes['POST /undrain']?.('n1', signal)).toMatchObject({ status: 404 });
});

test('a node that is not drained is said to be so', async () => {
  const { said } = await tell(['n1'], ['undrain', 'n1']);
  expect(said).toEqual(['node/n1 is not drained\n']);
});

test('where nobody answers, what to look at is told', async () => {
  await expect(askAdmin(path.join(folder, 'none'), 'GET', '/status', '', signal)).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(/^no furiwake answers on .*ENOENT.*: is it running, with this --state-dir\?$/),
  });
});

test('who is not root is told to be', () => {
  const error = Object.assign(new Error('connect EACCES /x/admin.sock'), { code: 'EACCES' });
  expect(noAnswer('/x/admin.sock', error)).toBe('/x/admin.sock is only for root: run the command as root');
});
