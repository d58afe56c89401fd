import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { type LogLine, recordLog } from '../../test/sim/observers.ts';
import { textReply } from '../http/server.ts';
import { systemFiles } from '../main/node/files.ts';
import { type Drains, loadDrains } from './drains.ts';
import type { NodeLine } from './host-status.ts';
import { nodeName } from '../../test/make/table.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import type { Dataplane } from '../core/traffic/dataplane.ts';
import type { NodeState } from '../core/status/node-states.ts';
import { adminRoutes, askAdmin, noAdminAnswer, serveAdmin } from './admin.ts';

const { signal } = new AbortController();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'furiwake-admin-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const notAsked = {
  status: () => Promise.reject(new Error('not asked here')),
  service: () => Promise.reject(new Error('not asked here')),
};

/** n1 has a connection, n2 three and, by IPv6, four. */
const shown = {
  ...notAsked,
  nodes: async (): Promise<readonly NodeLine[]> => [nodeLine('n1', 4, 1), nodeLine('n2', 4, 3), nodeLine('n2', 6, 4)],
  pastHaproxy: (node: NodeName): readonly Dataplane[] => (node === 'n2' ? ['direct', 'nat'] : []),
};

function nodeLine(node: string, family: 4 | 6, connections: number): NodeLine {
  const state = { state: 'up', health: 'up', since: undefined, healthSince: undefined } as const;
  return { node, family, address: '', ...state, connections, total: 9, uncounted: [] };
}

function loadServiceDrains(): Promise<Drains<ServiceKey>> {
  return loadDrains<ServiceKey>({ kind: 'service', path: '/services', files: filesOf(new Map()), log: recordLog() });
}

/** `silent-n4` is silent. */
function stateIn(name: string): NodeState {
  return (['silent', 'excluded'] as const).find((state) => name.startsWith(state)) ?? 'up';
}

/** The answers to these requests, one after the other, and their effects. */
async function tell(
  nodes: readonly string[] | undefined,
  ...requests: readonly (readonly [verb: string, node: string])[]
): Promise<{ said: readonly string[]; drained: readonly string[]; log: readonly LogLine[] }> {
  const log = recordLog();
  const drains = await loadDrains<NodeName>({ kind: 'node', path: '/drains', files: filesOf(new Map()), log });
  const routes = adminRoutes({
    otherHolder: () => undefined,
    view: shown,
    connections: notAsked.status,
    drains,
    serviceDrains: await loadServiceDrains(),
    nodes: () => nodes && new Map(nodes.map((name) => [nodeName(name), stateIn(name)])),
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

test('a node is drained and undrained, and both are logged', async () => {
  const { said, drained, log } = await tell(['n1', 'n2'], ['drain', 'n2'], ['drain', 'n1'], ['undrain', 'n2']);
  expect(said).toEqual([
    'node/n2 drained: 7 connections left in HAProxy. Its flows of direct and nat also continue, and are not counted\n',
    'node/n1 drained: 1 connection left in HAProxy\nWarning: no healthy node is left: n1, n2 are drained.\n',
    'node/n2 accepts connections again\n',
  ]);
  expect(drained).toEqual(['n1']);
  expect(log.map(({ fields, message }) => [message, fields['node']])).toEqual([
    ['node drained: no new connections', 'n2'],
    ['node drained: no new connections', 'n1'],
    ['no healthy node is left: n1, n2 are drained', 'n1'],
    ['node undrained', 'n2'],
  ]);
});

test.each([
  ['drain', 'n3', ['n2', 'n1'], 'node "n3" not found. Nodes: n1, n2'],
  ['undrain', 'n3', ['n1'], 'node "n3" not found. Nodes: n1'],
  ['drain', '', ['n1'], 'node "" not found. Nodes: n1'],
  ['drain', 'n1', [], 'node "n1" not found. Nodes: none'],
  ['drain', 'n1', undefined, 'The nodes are not known yet. Try again when `furiwake status` says ready.'],
])('%s %j of %j is refused with this message', async (verb, node, nodes, words) => {
  const { said, drained, log } = await tell(nodes, [verb, node]);
  expect(said).toEqual([words]);
  expect([drained, log]).toEqual([[], []]);
});

test('a node that was removed while drained may be undrained', async () => {
  const nodes = new Map<NodeName, NodeState>([[nodeName('n1'), 'up']]);
  const log = recordLog();
  const drains = await loadDrains<NodeName>({ kind: 'node', path: '/drains', files: filesOf(new Map()), log });
  const serviceDrains = await loadServiceDrains();
  const routes = adminRoutes({
    view: shown,
    connections: notAsked.status,
    drains,
    serviceDrains,
    nodes: () => nodes,
    otherHolder: () => undefined,
    log,
  });
  await routes['POST /drain']?.('n1', signal, new URLSearchParams());
  nodes.clear();
  expect(await routes['POST /undrain']?.('n1', signal, new URLSearchParams())).toMatchObject({
    status: 200,
    body: 'node/n1 accepts connections again\n',
  });
  expect(await routes['POST /undrain']?.('n1', signal, new URLSearchParams())).toMatchObject({ status: 404 });
});

test('a node that is excluded or silent does not count as a remaining one', async () => {
  const { said } = await tell(
    ['excluded-n3', 'n1', 'n2', 'silent-n4'],
    ['drain', 'excluded-n3'],
    ['drain', 'n1'],
    ['drain', 'n2'],
  );
  expect(said).toEqual([
    'node/excluded-n3 drained\n',
    'node/n1 drained: 1 connection left in HAProxy\n',
    'node/n2 drained: 7 connections left in HAProxy. Its flows of direct and nat also continue, and are not counted\nWarning: no healthy node is left: silent-n4 is silent, n1, n2 are drained, excluded-n3 is excluded.\n',
  ]);
});

test('the answer for a node that is not drained says so', async () => {
  const { said } = await tell(['n1'], ['undrain', 'n1']);
  expect(said).toEqual(['node/n1 is not drained\n']);
});

test.each([
  ['answers', '{"pid":12}', 'PID 12'],
  ['does not answer', undefined, 'which does not answer'],
])('a furiwake of another network namespace that %s keeps its admin socket', async (_, answer, who) => {
  const socket = path.join(folder, 'other.sock');
  const other = createServer((request, response) => (answer === undefined ? request.destroy() : response.end(answer)));
  other.listen(socket);
  await once(other, 'listening');
  await expect(serveAdmin(socket, {}, systemFiles, signal)).rejects.toMatchObject({
    code: 'START',
    message: expect.stringContaining(`another network namespace with this state directory (${who}, ${socket})`),
  });
  expect(existsSync(socket)).toBe(true);
  other.close();
});

test('the admin socket of a killed process is replaced', async () => {
  const socket = path.join(folder, 'left.sock');
  writeFileSync(socket, '');
  await using _admin = await serveAdmin(socket, { 'GET /': async () => textReply(200, '"new"') }, systemFiles, signal);
  expect(await askAdmin(socket, 'GET', '/', '', signal)).toBe('"new"');
});

test('an answer that is not JSON is an error: another program has the socket', async () => {
  const ask = async (): Promise<{ status: number; text: string }> => ({ status: 200, text: '<html>' });
  await expect(askAdmin('/s', 'GET', '/status', '', signal, ask)).rejects.toMatchObject({
    code: 'START',
    message:
      'the answer on /s is not JSON: another program listens there. Stop it, or name the state directory of furiwake with --state-dir.',
  });
  expect(await askAdmin('/s', 'POST', '/drain', 'n1', signal, ask)).toBe('<html>');
});

test('without a running furiwake the answer names the socket and a remedy', async () => {
  const socket = path.join(folder, 'none');
  await expect(askAdmin(socket, 'GET', '/status', '', signal)).rejects.toMatchObject({
    code: 'START',
    message: `furiwake is not running (no socket at ${socket}). Start it with systemctl start furiwake, or name its state directory with --state-dir. If it runs, its log says why it does not listen there.`,
  });
});

test.each([
  ['EACCES', '/x/admin.sock is only for root: run the command as root'],
  ['ECONNREFUSED', 'furiwake is not running (no process at /x/admin.sock). Start it'],
  ['UND_ERR_HEADERS_TIMEOUT', 'furiwake does not answer on /x/admin.sock (no answer within five seconds)'],
  ['EPIPE', 'furiwake does not answer on /x/admin.sock (no luck)'],
  ['UND_ERR_SOCKET', 'furiwake does not answer on /x/admin.sock (the connection was closed before the answer)'],
  ['HPE_INVALID_CONSTANT', 'furiwake does not answer on /x/admin.sock (the answer is not HTTP)'],
])('%s on the admin socket is one plain line', (code, words) => {
  expect(noAdminAnswer('/x/admin.sock', Object.assign(new Error('no luck'), { code }))).toContain(words);
});

test.each([
  ['POST', '/drain', '(no answer within five seconds); it may still do this when it answers again'],
  ['GET', '/status', '(no answer within five seconds)'],
])('%s %s without an answer in time says whether it may still have an effect', async (method, url, end) => {
  const late = (): Promise<never> => Promise.reject(Object.assign(new Error(), { code: 'UND_ERR_HEADERS_TIMEOUT' }));
  const message = `furiwake does not answer on /s ${end}`;
  await expect(askAdmin('/s', method, url, '', signal, late)).rejects.toMatchObject({ message });
});
